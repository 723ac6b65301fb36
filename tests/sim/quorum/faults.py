"""What goes wrong, at random: processes, disks, links, messages, clocks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logd.storage.memory_files import UNBOUNDED
from tests.sim.quorum.machine import Machine

if TYPE_CHECKING:
    from tests.sim.quorum.simulation import Simulation

OPERATIONS = 120
DISTURBANCE_S = (0.2, 2.5)
#: Longer than any election timeout.
STRAGGLE_S = 3.0


class Faults:
    """One method for each fault of the plan; `heal` ends what lasts."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._rng = world.rng.child("faults")
        self._cuts: dict[tuple[int, int], None] = {}
        self._loss = 0.0
        self.count = 0

    async def repeat(self, name: str, mean_s: float) -> None:
        """Do one fault now and then, for ever."""
        while True:
            await asyncio.sleep(0.05 + self._rng.exponential(mean_s, 4 * mean_s))
            machine = self._any()
            if machine is None:
                continue
            self._world.trace(f"fault {name} {machine.node_id}")
            self.count += 1
            await getattr(self, f"_{name}")(machine)

    def _any(self) -> Machine | None:
        """A machine; often the one that leads."""
        machines = self._world.machines
        leading = [each for each in machines if each.leads]
        return self._rng.choice(leading if leading and self._rng.chance(0.4) else machines)

    def _while(self) -> float:
        return self._rng.uniform(*DISTURBANCE_S)

    def heal(self) -> None:
        """Links are whole, messages arrive, machines are well."""
        self._loss = 0.0
        self._cuts.clear()
        self._apply_cuts()
        for connection in self._world.network.connections():
            connection.let_go()
        for machine in self._world.members.values():
            machine.heal()

    # --- processes

    async def _crash(self, machine: Machine) -> None:
        machine.end()

    async def _crash_at_step(self, machine: Machine) -> None:
        machine.die_at_work()

    async def _crash_at_operation(self, machine: Machine) -> None:
        machine.crash_at_operation(self._rng.randrange(OPERATIONS))

    async def _stop(self, machine: Machine) -> None:
        process = machine.process
        if process.up:
            stopping = self._world.loop.create_task(process.stop(), name="sigterm")
            await asyncio.shield(stopping)
            self._world.sometimes("stopped cleanly")

    # --- disks

    async def _full_disk(self, machine: Machine) -> None:
        files = machine.process.files
        self._world.sometimes("disk full")
        # The reserve of the metadata log is soon given up; nothing is left beside it.
        reserve = files.size("raft/reserve") if files.exists("raft/reserve") else 0
        used = files.capacity - files.free_bytes()
        files.capacity = used - reserve + self._rng.randrange(600)
        await asyncio.sleep(self._while())
        files.capacity = UNBOUNDED

    async def _failed_sync(self, machine: Machine) -> None:
        machine.fail_sync()

    async def _failed_write(self, machine: Machine) -> None:
        machine.fail_write()

    async def _short_writes(self, machine: Machine) -> None:
        def limit(_path: str, size: int) -> int:
            if size > 1 and self._rng.chance(0.3):
                self._world.sometimes("short write")
                return self._rng.randrange(1, size)
            return size

        machine.process.files.write_limit = limit
        await asyncio.sleep(self._while())
        machine.process.files.write_limit = None

    # --- links

    async def _cut(self, machine: Machine) -> None:
        """Cut a node off, both ways."""
        self._world.sometimes("symmetric cut")
        others = [each.node_id for each in self._world.machines if each is not machine]
        pairs = [(machine.node_id, other) for other in others]
        await self._hold([*pairs, *((b, a) for a, b in pairs)])

    async def _one_way(self, machine: Machine) -> None:
        """What a node sends, or what is sent to it, does not arrive, from some or all."""
        self._world.sometimes("one-way cut")
        self._world.sometimes("asymmetric cut")
        others = [each.node_id for each in self._world.machines if each is not machine]
        some = [other for other in others if self._rng.chance(0.7)]
        outward = self._rng.chance(0.5)
        await self._hold(
            [(machine.node_id, each) if outward else (each, machine.node_id) for each in some]
        )

    async def _hold(self, pairs: list[tuple[int, int]]) -> None:
        self._cuts.update(dict.fromkeys(pairs))
        self._apply_cuts()
        await asyncio.sleep(self._while())
        for pair in pairs:
            self._cuts.pop(pair, None)
        self._apply_cuts()

    def _apply_cuts(self) -> None:
        if not self._cuts:
            self._world.network.partition(None)
            return
        members = self._world.members.values()
        names = {each.process.name: each.node_id for each in members}
        ports = {each.process.peer_address: each.node_id for each in members}

        def cut(client: str, address: str) -> bool:
            return (names.get(client, 0), ports.get(address, 0)) in self._cuts

        self._world.network.partition(cut)

    async def _reset(self, _machine: Machine) -> None:
        connections = self._world.network.connections()
        if connections:
            self._world.sometimes("connection reset")
            self._rng.choice(connections).reset("reset by the network")

    async def _stall(self, _machine: Machine) -> None:
        connections = self._world.network.connections()
        if connections:
            self._world.sometimes("connection stalled")
            self._rng.choice(connections).stall(self._while())

    async def _lossy(self, _machine: Machine) -> None:
        self._loss = self._rng.choice((0.02, 0.1, 0.3))
        await asyncio.sleep(2 * self._while())
        self._loss = 0.0

    def fate(self, whole: bool) -> list[float]:
        """After how many seconds a message arrives, each time that it does."""
        if whole or not self._loss or not self._rng.chance(self._loss):
            return [0.0]
        sometimes = self._world.sometimes
        match self._rng.randrange(4):
            case 0 | 1:
                sometimes("message dropped")
                return []
            case 2:
                sometimes("message delivered twice")
                return [0.0, self._rng.random()]
            case _:
                sometimes("message delayed for several timeouts")
                return [self._rng.random() * STRAGGLE_S]

    # --- clocks

    async def _drift(self, machine: Machine) -> None:
        self._world.sometimes("clock drifted")
        machine.clock.run_at(self._rng.choice((0.9, 0.97, 1.03, 1.1)))

    async def _wall_jump(self, machine: Machine) -> None:
        self._world.sometimes("wall clock jumped")
        machine.clock.jump_wall(60_000 * self._rng.choice((-120, -1, 1, 30, 60 * 24 * 365)))
