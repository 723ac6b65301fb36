"""What goes wrong, at random: links, clocks, processes, disks, directories."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from logd.consensus.log_types import Voters
from logd.model.ids import NodeId
from tests.sim.raft.node import SimNode

if TYPE_CHECKING:
    from tests.sim.raft.simulation import Simulation

Link = tuple[int, int]


class Faults:
    """The faults by name; `count` says how many there were."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self.count = 0
        self.actions: dict[str, Callable[[], None]] = {
            "cut": self.cut,
            "crash": self.crash,
            "pause": self.pause,
            "drift": self.drift,
            "slow_disk": self.slow_disk,
            "full_disk": self.full_disk,
            "failing_save": self.failing_save,
            "wipe": self.wipe,
            "crash_all": self.crash_all,
            "links": self.slow_links,
        }

    def _any(self) -> SimNode | None:
        """A node that runs; one that leads more often than others."""
        world = self._world
        running = [node for node in world.nodes.values() if node.core is not None]
        leaders = [node for node in running if node.is_leader]
        if leaders and world.rng.random() < 0.4:
            return world.rng.choice(leaders)
        return world.rng.choice(running) if running else None

    # --- network

    def cut(self) -> None:
        """Cut some links for a while: around one node, between two halves, one way, in a ring."""
        world = self._world
        ids = sorted(world.nodes)
        if len(ids) < 2:
            return
        kind = world.rng.choice(("isolate", "halves", "one way", "deaf", "mute", "ring", "pair"))
        blocked = self._links(kind, ids)
        if kind == "isolate":
            world.sometimes("node cut off")
        symmetric = all((to, sender) in blocked for sender, to in blocked)
        world.sometimes("symmetric cut" if symmetric else "asymmetric cut")
        world.network.blocked = blocked
        world.trace("cut", 0, sorted(blocked))
        timeout = world.profile.timing.election_timeout_ms_max
        until = world.now_ms + world.rng.randrange(timeout // 4, 4 * timeout)
        world.schedule(until, lambda: self._uncut(blocked))

    def _uncut(self, blocked: set[Link]) -> None:
        if self._world.network.blocked is blocked:
            self._world.network.blocked = set()
            self._world.trace("uncut", 0)

    def _links(self, kind: str, ids: list[NodeId]) -> set[Link]:
        rng = self._world.rng
        every: set[Link] = {(one, other) for one in ids for other in ids if one != other}
        one = self._victim(ids)
        match kind:
            case "isolate":
                return {link for link in every if one in link}
            case "deaf":
                return {link for link in every if link[1] == one}
            case "mute":
                return {link for link in every if link[0] == one}
            case "ring":
                return {
                    (a, b) for a, b in every if abs(ids.index(NodeId(a)) - ids.index(NodeId(b))) > 1
                }
            case "pair":
                other = rng.choice([node for node in ids if node != one])
                return {(one, other), (other, one)}
            case _:
                side = {node for node in ids if rng.random() < 0.5}
                across: set[Link] = {(a, b) for a, b in every if a in side and b not in side}
                return across if kind == "one way" else across | {(b, a) for a, b in across}

    def _victim(self, ids: list[NodeId]) -> NodeId:
        node = self._any()
        return node.node_id if node is not None else self._world.rng.choice(ids)

    def slow_links(self) -> None:
        """Some links become slow, the others as they were."""
        world = self._world
        timeout = world.profile.timing.election_timeout_ms_max
        world.network.delays = {
            (one, other): world.rng.choice((timeout // 4, timeout // 2, timeout))
            for one in sorted(world.nodes)
            for other in sorted(world.nodes)
            if one != other and world.rng.random() < 0.25
        }

    # --- processes and clocks

    def crash(self) -> None:
        node = self._any()
        if node is not None:
            node.crash()
            self._world.restart_later(node)

    def crash_all(self) -> None:
        for node in self._world.nodes.values():
            if node.core is not None:
                node.crash()
                self._world.restart_later(node)

    def pause(self) -> None:
        """One node does not run for a while, up to several election timeouts."""
        node, world = self._any(), self._world
        if node is None or node.paused:
            return
        world.sometimes("node paused")
        world.trace("pause", node.node_id)
        node.pause()
        timeout = world.profile.timing.election_timeout_ms_max
        until = world.now_ms + world.rng.randrange(50, 5 * timeout)
        incarnation = node.incarnation

        def resume() -> None:
            if node.incarnation == incarnation:
                node.resume()

        world.schedule(until, resume)

    def drift(self) -> None:
        """Every clock runs at a speed of its own."""
        world = self._world
        world.sometimes("clock drifted")
        for node in world.nodes.values():
            node.drift(world.rng.choice((0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 4.0)))

    # --- disks

    def slow_disk(self) -> None:
        """A save of one node takes long from now on, or no longer."""
        node, world = self._any(), self._world
        if node is not None:
            node.save_ms = world.rng.choice((0, world.profile.save_ms, 100, 400))

    def full_disk(self) -> None:
        """Saves of one node wait for space."""
        node, world = self._any(), self._world
        if node is not None:
            timeout = world.profile.timing.election_timeout_ms_max
            node.full_until_ms = world.now_ms + world.rng.randrange(50, 3 * timeout)

    def failing_save(self) -> None:
        """The next save of one node fails, which stops the node."""
        node = self._any()
        if node is not None:
            node.next_save_fails = True

    def wipe(self) -> None:
        """One node comes back with an empty directory, if its cluster can do without it."""
        world = self._world
        candidates = [node for node in world.nodes.values() if self._can_lose(node)]
        if not candidates:
            return
        node = world.rng.choice(candidates)
        world.sometimes("directory emptied")
        if node.core is not None:
            node.crash()
        world.new_directory(node)
        world.restart_later(node)

    def _can_lose(self, node: SimNode) -> bool:
        """Whether every voter set that is in force anywhere has a majority without this node."""
        world = self._world
        lost = node.disk.directory_id
        return node.disk.hard_state is not None and all(
            self._is_sane_without(voters, lost) for voters in world.voter_sets()
        )

    def _is_sane_without(self, voters: Voters, lost: bytes) -> bool:
        left = [v for v in voters if self._world.is_healthy(v) and v.directory_id != lost]
        return 2 * len(left) > len(voters)
