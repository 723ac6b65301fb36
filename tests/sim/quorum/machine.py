"""One machine: a node's process over its disk, started again whenever it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from logd.consensus import RaftCore, Ready, Role
from logd.model.ids import DirectoryId, NodeId
from logd.model.node_config import load_node_config
from logd.storage.memory_files import UNBOUNDED, MemoryFiles
from logd.testing.cluster import addresses_of, peers_of
from logd.testing.disk import CrashError
from logd.testing.process import ProcessDiedError, SimProcess
from tests.sim.quorum.clock import NodeClock
from tests.sim.raft.world import Death

if TYPE_CHECKING:
    from tests.sim.quorum.simulation import Simulation


class Machine:
    """`retired`: it does not come back. `peers`: whom its configuration names beside it."""

    def __init__(
        self, world: Simulation, node_id: NodeId, name: str, peers: Sequence[NodeId]
    ) -> None:
        self.world = world
        self.node_id = node_id
        self.peers = peers
        self.rng = world.rng.child(f"machine/{name}")
        self.clock = NodeClock(world.loop)
        self.retired = False
        #: The core of the process that runs, or ran last.
        self.core: RaftCore | None = None
        self.directory_id: DirectoryId | None = None
        #: What was being saved when the process ended.
        self.saving: Ready | None = None
        self._next_death: Death | None = None
        self._crash_in = -1
        self._write_fails = False
        self._sync_fails = False
        self.process = self._make_process()
        self._task = world.loop.create_task(self._live(), name=f"machine {name}")

    def _make_process(self) -> SimProcess:
        world = self.world
        config, entries = load_node_config(
            flags={
                "node.id": str(self.node_id),
                **addresses_of(self.node_id),
                "cluster.peers": peers_of(*sorted({*self.peers, self.node_id})),
            }
        )
        process = SimProcess(
            loop=world.loop,
            network=world.network,
            files=MemoryFiles(),
            clock=self.clock,
            rng=self.rng.child("process"),
            trace=world.trace,
            config=config,
            config_entries=entries,
            latency=world.plan.latency,
        )
        process.on_file_operation = self._on_file_operation
        process.files.sync_fails = self._on_sync
        return process

    @property
    def leads(self) -> bool:
        """Whether its process believes that it leads."""
        return self.process.alive and self.core is not None and self.core.role is Role.LEADER

    async def _live(self) -> None:
        while not self.retired:
            try:
                await self.process.start()
                reason = await self.process.wait_ended()
            except ProcessDiedError as error:
                reason = str(error)
            self._look_back()
            self.world.trace(f"machine {self.node_id}: {reason}")
            await asyncio.sleep(0.005 + self.rng.random() * self.world.down_max)

    def _look_back(self) -> None:
        core = self.core
        if core is None or core.role is not Role.LEADER:
            return
        if core.end_index > core.commit_index:
            self.world.sometimes("leader crashed with uncommitted entries")

    def end(self, *, retire: bool = False) -> None:
        """End the process, with or without a power loss."""
        self.retired = self.retired or retire
        power_loss = self.rng.chance(0.6)
        self.world.sometimes("power loss" if power_loss else "process killed")
        self.process.crash(power_loss=power_loss)

    # --- faults

    def heal(self) -> None:
        """Take back what lasts."""
        files = self.process.files
        files.capacity, files.write_limit = UNBOUNDED, None
        self._crash_in, self._next_death = -1, None
        self._write_fails = self._sync_fails = False
        self.clock.run_at(1.0)

    def draw_death(self, ready: Ready) -> Death | None:
        """Where in the round of work that begins now the process ends."""
        death = self._next_death
        if death is None or (death in (Death.BEFORE_APPLY, Death.BEFORE_ADVANCE)) > bool(
            ready.committed
        ):
            return None
        self._next_death = None
        self.process.power_loss = self.rng.chance(0.6)
        return death

    def die_at_work(self) -> None:
        """End in the next round of the consensus driver."""
        self._next_death = self.rng.choice(tuple(Death))

    def crash_at_operation(self, within: int) -> None:
        """End at one of the next operations on files."""
        self.process.power_loss = self.rng.chance(0.6)
        self._crash_in = within

    def fail_write(self) -> None:
        """Fail the next write."""
        self._write_fails = True

    def fail_sync(self) -> None:
        """Fail the next sync."""
        self._sync_fails = True

    def _on_file_operation(self, operation: str, path: str) -> None:
        world = self.world
        if self._crash_in >= 0:
            self._crash_in -= 1
            if self._crash_in < 0:
                saving = self.saving is not None and path.startswith("raft/")
                up = self.process.up
                world.sometimes("crash within a save" if saving else "crash at a file operation")
                if not up:
                    world.sometimes("crash while starting")
                raise CrashError(f"at {operation} {path}")
        if self._write_fails and operation == "pwrite" and self.process.up:
            self._write_fails = False
            world.sometimes("write failed")
            raise OSError(5, "injected", path)

    def _on_sync(self, path: str) -> bool:
        if not (self._sync_fails and self.process.up):
            return False
        self._sync_fails = False
        self.world.sometimes("fsync failed")
        return True
