"""What clients and operators ask of the nodes, at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from logd_wire.errors import InvalidRequestError, NotLeaderError

from logd.consensus import RaftCore, Role
from logd.consensus.log_types import Voter, Voters
from logd.consensus.progress import PIPELINED_BYTES_MIN
from logd.model.ids import DirectoryId, NodeId
from tests.sim.raft.node import SimNode
from tests.sim.raft.oracle import Violation, is_among
from tests.sim.raft.world import Pending

if TYPE_CHECKING:
    from tests.sim.raft.simulation import Simulation

#: One payload of so many is large.
LARGE_EVERY = 8


class Demands:
    """Proposals, reads, snapshots, transfers, changes of voters and observers."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._serial = 0
        #: Whom leadership was to go to, and until when that counts as done.
        self.transfers: dict[NodeId, float] = {}
        self.actions: dict[str, Callable[[], None]] = {
            "propose": self.propose,
            "read": self.read,
            "compact": self.compact,
            "transfer": self.transfer,
            "voters": self.change_voters,
            "observers": self.change_observers,
        }

    def _leader(self) -> SimNode | None:
        """One of those that believe they lead."""
        leaders = [node for node in self._world.nodes.values() if node.is_leader]
        return self._world.rng.choice(leaders) if leaders else None

    def _payload(self) -> bytes:
        """Now and then one so large that an append with it leaves beside another."""
        self._serial += 1
        payload = b"%d" % self._serial
        return payload if self._serial % LARGE_EVERY else payload.ljust(PIPELINED_BYTES_MIN)

    # --- clients

    def propose(self) -> None:
        """One or a few entries at once, some of several payloads."""
        node = self._leader()
        if node is None:
            return
        for _ in range(self._world.rng.choice((1, 1, 1, 4))):
            if node.is_leader:
                self.propose_to(node)

    def propose_to(self, node: SimNode) -> int | None:
        """Propose one entry; returns the index behind it."""
        world, found = self._world, []
        payloads = [self._payload() for _ in range(world.rng.choice((1, 1, 1, 2, 5)))]
        term = node.core.term if node.core else 0
        deadline = world.now_ms + world.profile.patience_ms

        def ask(core: RaftCore) -> None:
            proposal = core.propose(payloads)
            if proposal.term != term:
                raise Violation(f"node {node.node_id} proposes in term {term}: {proposal}")
            found.append(proposal.index + len(payloads))
            node.pending[proposal.index] = Pending(tuple(payloads), term, deadline)

        if not self._ask(node, ask):
            return None
        return found[0]

    def _ask(self, node: SimNode, action: Callable[[RaftCore], object]) -> bool:
        """Ask a node; whether it took the request."""
        try:
            node.ask(action)
        except (NotLeaderError, InvalidRequestError) as refusal:
            self._world.trace("refused", node.node_id, str(refusal))
            return False
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"node {node.node_id}: {type(error).__name__}: {error}") from error
        return True

    def read(self) -> None:
        """Ask for a point to read at, also one who stands still and answers later."""
        nodes = [node for node in self._world.nodes.values() if node.seems_to_lead]
        if nodes:
            node, floor = self._world.rng.choice(nodes), self._world.oracle.commit_index
            node.after_pause(lambda: self._read_at(node, floor))

    def _read_at(self, node: SimNode, floor: int) -> None:
        """`floor`: what was committed anywhere when the client asked."""
        core, world = node.core, self._world
        if core is None or core.role is not Role.LEADER:
            return
        self._serial += 1
        context = self._serial
        deadline = world.now_ms + world.profile.patience_ms
        if core.commit_index < floor:
            world.sometimes("read waited for the first commit of a term")
        node.reads[context] = (floor, deadline)
        if not self._ask(node, lambda _: core.read_index(context)):
            node.reads.pop(context, None)

    def give_up(self) -> None:
        """Clients whose patience is over do not wait any longer."""
        now = self._world.now_ms
        for node in self._world.nodes.values():
            for index, pending in list(node.pending.items()):
                if pending.deadline_ms < now:
                    del node.pending[index]
                    self._world.sometimes("proposal timed out")

    # --- operators

    def compact(self) -> None:
        running = [n for n in self._world.nodes.values() if n.core is not None and not n.paused]
        if running:
            self._world.rng.choice(running).take_snapshot()

    def transfer(self) -> None:
        """Move leadership to somebody; at times to one that cannot have it."""
        node, world = self._leader(), self._world
        if node is None or node.core is None:
            return
        core = node.core
        to = world.rng.choice(sorted(world.nodes))
        if self._ask(node, lambda _: core.transfer(to)) and to != node.node_id:
            limit = world.profile.timing.election_timeout_ms_max
            self.transfers[to] = world.now_ms + limit
            world.trace("transfer", node.node_id, to)

            def settle() -> None:
                if self.transfers.pop(to, None) is not None and node.is_leader:
                    world.sometimes("transfer given up")

            world.schedule(world.now_ms + 2 * limit, settle)

    def change_observers(self) -> None:
        """Another set of nodes is sent the log."""
        world = self._world
        world.observe = world.rng.random() < 0.7
        for node in world.nodes.values():
            if node.is_leader:
                node.observers_changed()

    def change_voters(self) -> None:
        """Add, remove or replace one voter, or give it another address."""
        node = self._leader()
        if node is None or node.core is None:
            return
        voters = self._next_voters(node.core.voters)
        if self._world.rng.random() < 0.03:
            self._propose_nonsense(node, node.core.voters)
        elif voters is not None:
            self.propose_voters(node, voters)

    def _propose_nonsense(self, node: SimNode, voters: Voters) -> None:
        """A change of more than one voter, or of all of them, is refused."""
        strangers = [Voter(NodeId(90 + n), DirectoryId(b"stranger %07d" % n), "") for n in (1, 2)]
        sets = [(), with_voter(with_voter(voters, strangers[0]), strangers[1])]
        sets.append(with_voter(without(voters, voters[0]), strangers[0]) if voters else ())
        nonsense = self._world.rng.choice(sets)
        if self._ask(node, lambda core: core.propose_voters(nonsense, b"nonsense")):
            raise Violation(f"node {node.node_id} takes {nonsense} after {voters}")

    def _next_voters(self, voters: Voters) -> Voters | None:
        world = self._world
        rng = world.rng
        present = {voter.node_id: voter for voter in voters}
        lost = [v for v in voters if not world.is_healthy(v)]
        absent = [node for node in world.nodes.values() if node.node_id not in present]
        draw = rng.random()
        if lost and draw < 0.6:
            return without(voters, lost[0])
        if draw < 0.1:
            return moved(voters, rng.choice(voters), f"x{world.serial()}:1")
        if draw < 0.15:
            return voters  # written down as they are
        grow = draw < 0.55 or world.profile.formation
        if absent and (grow or len(voters) == 1):
            return with_voter(voters, rng.choice(absent).voter)
        if len(voters) > 1:
            return without(voters, rng.choice(voters))
        return None

    def propose_voters(self, node: SimNode, voters: Voters) -> bool:
        """Propose a voter set unless it would need a node that lost its directory."""
        core, world = node.core, self._world
        if core is None or not world.is_sane(voters):
            return False
        open_change = any(entry.index >= world.oracle.commit_index for entry in node.disk.changes)
        payload, before = b"voters %d" % world.serial(), core.voters
        taken = self._ask(node, lambda _: core.propose_voters(voters, payload))
        world.trace("voters", node.node_id, taken, voters)
        if not taken and open_change:
            world.sometimes("second change refused")
        for voter in voters:
            if taken and not is_among(voter, before) and world.nodes[voter.node_id].disk.entries:
                world.sometimes("observer became voter")
        return taken


def with_voter(voters: Voters, voter: Voter) -> Voters:
    """The set with one more."""
    return tuple(sorted((*voters, voter), key=lambda one: one.node_id))


def without(voters: Voters, voter: Voter) -> Voters:
    """The set with one less."""
    return tuple(one for one in voters if one.node_id != voter.node_id)


def moved(voters: Voters, voter: Voter, address: str) -> Voters:
    """The set with one voter at another address."""
    other = Voter(voter.node_id, voter.directory_id, address)
    return tuple(other if one is voter else one for one in voters)
