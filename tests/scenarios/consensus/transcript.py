"""The language of the consensus transcripts: what happens to nodes, and what they do about it.

    > tick 1 600
      1 is pre-candidate in term 1
    > deliver
      1>2 would you vote? term=2 log=1:2
      ...

A command line begins with `>`; what follows is the trace. A node saves at once, unless it is told
to `hold`. A message waits until it is delivered or lost; it is traced when that happens.

    nodes 1 2 3          voters with an empty log but for the set itself, in term 1
    found 1, empty 4     a founder of a new cluster, a node that knows nothing
    tick 1 600           600 ms later node 1 looks at the clock
    pass 300             time passes for all; every message is delivered
    deliver, lose 1>2    all that waits (and what follows from it), or what goes this way
    cut 3, heal          what would arrive at node 3, or from it, is gone
    propose 1 a b        one entry
    voters 1 1 2 4       node 1 is asked for these voters; 3b is node 3 with its second folder
    read 1 7, transfer 1 2, observe 1 4, compact 1
    hold 1, save 1       from now on a save takes until the next `save`
    crash 1, start 1     what was not saved is lost; of a held save `crash 1 saved` keeps all
    wipe 3               node 3 starts with an empty folder
    quietly pass 300     any command; only changes of roles are traced
    state                everybody's
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from logd_wire.errors import LogdError

from logd.consensus import (
    AppendRejected,
    AppendRequest,
    AppendResponse,
    Body,
    Entry,
    HeartbeatRequest,
    HeartbeatResponse,
    InstallSnapshot,
    LogPoint,
    Message,
    Ready,
    Role,
    TimeoutNow,
    Voter,
    VoteRequest,
    VoteResponse,
    Voters,
)
from logd.model.ids import NodeId
from tests.scenarios.replay import replayed
from tests.unit.consensus.rig import Disk, Node, identity, seated, voter, voters

_PASS_STEP_MS = 10


class Session:
    """Runs the commands of one transcript."""

    def __init__(self) -> None:
        self._now_ms = 0
        self._nodes: dict[int, Node] = {}
        self._disks: dict[int, Disk] = {}
        self._mail: list[Message] = []
        self._cut: set[int] = set()
        self._held: set[int] = set()
        self._saving: dict[int, Ready] = {}
        self._told: dict[int, tuple[Role, int]] = {}
        self._trace: list[str] = []
        self._of_the_world: dict[str, Callable[[list[str]], None]] = {
            "nodes": self._make,
            "pass": self._pass,
            "deliver": self._deliver,
            "lose": self._lose,
            "cut": lambda words: self._cut.update(map(int, words)),
            "heal": lambda _: self._cut.clear(),
            "state": lambda _: self._trace.extend(map(self._state, sorted(self._nodes))),
        }
        self._of_a_node: dict[str, Callable[[int, list[str]], None]] = {
            "found": lambda node, _: self._start(node, Disk(identity(node)), founder=True),
            "empty": lambda node, _: self._start(node, Disk(identity(node))),
            "tick": lambda node, words: self._tick(node, *map(int, words)),
            "hold": lambda node, _: self._held.add(node),
            "save": lambda node, _: self._save(node),
            "crash": lambda node, words: self._crash(node, saved=words == ["saved"]),
            "start": lambda node, _: self._start(node, self._disks[node]),
            "wipe": lambda node, _: self._start(node, Disk(identity(node, "b"))),
        }

    def run(self, line: str) -> list[str]:
        """Return the trace of one command line, without the `>`."""
        verb, *words = line.split()
        self._trace = []
        if verb == "quietly":
            self.run(" ".join(words))
            return [traced for traced in self._trace if " is " in traced]
        if verb in self._of_the_world:
            self._of_the_world[verb](words)
        elif verb in self._of_a_node:
            self._of_a_node[verb](int(words[0]), words[1:])
        else:
            self._ask(verb, int(words[0]), words[1:])
        return self._trace

    # --- nodes ----------------------------------------------------------------------------------

    def _make(self, words: list[str]) -> None:
        numbers = [int(word) for word in words]
        for number in numbers:
            self._start(number, Disk.of(number, seated(voters(*numbers))))

    def _start(self, number: int, disk: Disk, *, founder: bool = False) -> None:
        """Timeouts grow with the node id: 600 ms for node 1, 660 ms for node 2, ..."""
        self._disks[number] = disk
        self._nodes[number] = Node(
            disk, now_ms=self._now_ms, founder=founder, random=lambda: number / 10 - 0.1
        )
        self._told[number] = (Role.FOLLOWER, self._nodes[number].core.term)
        self._settle(number)

    def _crash(self, number: int, *, saved: bool) -> None:
        ready = self._saving.pop(number, None)
        if ready is not None and saved:
            self._disks[number].save(ready)
        self._held.discard(number)
        del self._nodes[number]

    def _state(self, number: int) -> str:
        core = self._nodes[number].core
        leader = "-" if core.leader_id is None else core.leader_id
        log = f"{_point(core.snapshot_point)}..{core.end_index}"
        return (
            f"{number} {core.role.value} term={core.term} leader={leader} log={log} "
            f"commit={core.commit_index} voters={_voters(core.voters)}"
        )

    # --- what happens ---------------------------------------------------------------------------

    def _tick(self, number: int, after_ms: int = 0) -> None:
        self._now_ms += after_ms
        self._nodes[number].core.tick(self._now_ms)
        self._settle(number)

    def _pass(self, words: list[str]) -> None:
        for _ in range(0, int(words[0]), _PASS_STEP_MS):
            self._now_ms += _PASS_STEP_MS
            for number, node in self._nodes.items():
                deadline = node.core.next_deadline_ms()
                if deadline is not None and deadline <= self._now_ms:
                    self._tick(number)
            self._deliver([])

    def _deliver(self, words: list[str]) -> None:
        for _ in range(1 if words else 1_000):
            arriving, self._mail = self._choose(words)
            if not arriving:
                return
            for item in arriving:
                self._arrive(item)
        assert words, "the nodes never stop talking"

    def _lose(self, words: list[str]) -> None:
        lost, self._mail = self._choose(words)
        self._trace += [f"lost {_message(item)}" for item in lost]

    def _choose(self, words: list[str]) -> tuple[list[Message], list[Message]]:
        chosen = [item for item in self._mail if not words or f"{item.sender}>{item.to}" in words]
        return chosen, [item for item in self._mail if item not in chosen]

    def _arrive(self, item: Message) -> None:
        node = self._nodes.get(item.to)
        if node is None or {int(item.sender), int(item.to)} & self._cut:
            return
        self._trace.append(_message(item))
        node.core.step(item, self._now_ms)
        self._settle(item.to)

    def _ask(self, verb: str, number: int, words: list[str]) -> None:
        core = self._nodes[number].core
        asks: dict[str, Callable[[], object]] = {
            "propose": lambda: core.propose([word.encode() for word in words]),
            "voters": lambda: core.propose_voters(tuple(map(_voter, words)), b"voters"),
            "read": lambda: core.read_index(int(words[0])),
            "transfer": lambda: core.transfer(NodeId(int(words[0]))),
            "observe": lambda: core.set_observers([NodeId(int(word)) for word in words]),
            "compact": lambda: self._compact(number),
        }
        try:
            asks[verb]()
        except LogdError as error:
            self._trace.append(f"refused {error.code.name}: {error}")
        self._settle(number)

    def _compact(self, number: int) -> None:
        core, disk = self._nodes[number].core, self._disks[number]
        disk.snapshot = core.applied_snapshot
        start = disk.snapshot.point.index
        disk.entries = [item for item in disk.entries if item.index >= start]
        core.compact(disk.snapshot)

    # --- the driver -----------------------------------------------------------------------------

    def _settle(self, number: int) -> None:
        node = self._nodes[number]
        self._notice(number)
        self._mail += node.core.take_messages_now()
        while number not in self._saving and node.core.has_ready():
            ready = node.core.ready()
            self._mail += ready.messages_now
            if ready.has_work and number in self._held:
                self._saving[number] = ready
                self._trace.append(f"{number} begins to save{_work(ready)}")
            else:
                self._finish(number, ready)

    def _save(self, number: int) -> None:
        self._held.discard(number)
        self._finish(number, self._saving.pop(number))
        self._settle(number)

    def _finish(self, number: int, ready: Ready) -> None:
        node = self._nodes[number]
        reads = len(node.reads)
        node.finish(ready)
        self._mail += node.sent
        node.sent.clear()
        if ready.has_work:
            self._trace.append(f"{number} saved{_work(ready)}")
        if ready.committed:
            self._trace.append(f"{number} applied {_entries(ready.committed)}")
        self._trace += [
            f"{number} answers read {read.context} at {read.index}" for read in node.reads[reads:]
        ]
        self._trace += [f"{number} fails read {context}" for context in ready.reads_failed]
        self._notice(number)

    def _notice(self, number: int) -> None:
        core = self._nodes[number].core
        if self._told[number] != (core.role, core.term):
            self._told[number] = (core.role, core.term)
            self._trace.append(f"{number} is {core.role.value} in term {core.term}")


def transcript(text: str) -> str:
    """Return the text with the trace under each command as it is now."""
    return replayed(text, Session().run)


def _voter(word: str) -> Voter:
    number = word.rstrip("b")
    return voter(int(number), "b" if word != number else "a")


def _voters(members: Voters) -> str:
    names = [item.directory_id.decode().rstrip(".").removesuffix("a") for item in members]
    return ",".join(names) or "-"


def _point(at: LogPoint) -> str:
    return f"{at.term}:{at.index}"


def _entries(entries: Iterable[Entry]) -> str:
    return "[" + ", ".join(map(_entry, entries)) + "]"


def _entry(entry: Entry) -> str:
    what = " ".join(payload.decode() for payload in entry.payloads)
    if entry.is_no_op:
        what = "no-op"
    elif entry.voters is not None:
        what = f"voters {_voters(entry.voters)}"
    return f"{entry.index}/t{entry.term} {what}"


def _work(ready: Ready) -> str:
    told = ""
    if ready.hard_state is not None:
        vote = "-" if ready.hard_state.vote < 0 else ready.hard_state.vote
        told += f" term={ready.hard_state.term} vote={vote}"
    if ready.snapshot is not None:
        told += f" snapshot={_point(ready.snapshot.point)}"
    if ready.entries:
        told += f" {_entries(ready.entries)}"
    return told


def _message(message: Message) -> str:
    folder = message.sender_directory.decode().rstrip(".").removesuffix("a")
    return f"{folder}>{message.to} {_body(message.body)}"


def _body(body: Body) -> str:
    match body:
        case VoteRequest(term, last, pre_vote, transfer):
            kind = "would you vote?" if pre_vote else "vote!"
            return f"{kind} term={term} log={_point(last)}{' transfer' if transfer else ''}"
        case VoteResponse(term, granted, pre_vote):
            kind = "would vote" if pre_vote else "vote"
            return f"{kind} {'yes' if granted else 'no'} term={term}"
        case AppendRequest(term, previous, entries, commit):
            return (
                f"append term={term} after={_point(previous)} {_entries(entries)} commit={commit}"
            )
        case AppendResponse(term, match_index):
            return f"appended term={term} match={match_index}"
        case AppendRejected(term, rejected_index, hint):
            return f"rejected term={term} at={rejected_index} hint={_point(hint)}"
        case HeartbeatRequest(term, commit, round_):
            return f"heartbeat term={term} commit={commit} round={round_}"
        case HeartbeatResponse(term, round_):
            return f"heard term={term} round={round_}"
        case InstallSnapshot(term, snapshot):
            at = _point(snapshot.point)
            return f"snapshot term={term} at={at} voters={_voters(snapshot.voters)}"
        case TimeoutNow(term):
            return f"campaign! term={term}"
