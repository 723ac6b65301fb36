"""Judges a history: which promises of one log were broken, with the smallest witnesses.

Every check is O(n log n) or better. The oracle is the log as found on disk at the end; polls,
acknowledgements and offsets asked for are held against it and against each other; what several
replicas must have in common is in `replica_checks`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.sim.history import History, Poll, Seen, Send
from tests.sim.replica_checks import REPLICA_ANOMALIES, replica_findings

WITNESSES_MAX = 8

Finding = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`anomalies`: name to witnesses, at most `WITNESSES_MAX`; empty: the run is valid."""

    anomalies: dict[str, list[str]]

    @property
    def valid(self) -> bool:
        return not self.anomalies

    def __str__(self) -> str:
        lines = []
        for name, witnesses in self.anomalies.items():
            lines.append(f"{name}:")
            lines.extend(f"  {witness}" for witness in witnesses)
        return "\n".join(lines) or "valid"


class _Facts:
    """The history arranged for the checks."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.sent: dict[str, Send] = {send.value: send for send in history.sends}
        self.at: dict[str, dict[int, list[Seen]]] = {}
        self.where: dict[str, dict[str, list[int]]] = {}
        for key, records in history.log.items():
            at: dict[int, list[Seen]] = defaultdict(list)
            where: dict[str, list[int]] = defaultdict(list)
            for seen in records:
                at[seen.offset].append(seen)
                where[seen.value].append(seen.offset)
            self.at[key], self.where[key] = at, where

    def ok(self) -> Iterator[Send]:
        return (send for send in self.history.sends if send.result == "ok")

    def stands(self, key: str, offset: int, value: str) -> bool:
        """Whether the log holds `value` at `offset`."""
        return any(seen.value == value for seen in self.at.get(key, {}).get(offset, ()))

    def offsets(self, key: str, value: str) -> list[int]:
        return self.where.get(key, {}).get(value, [])

    def promised(self, key: str, offset: int) -> bool:
        """Nobody asked to trim this offset away."""
        return offset >= self.history.floor(key)

    def reads(self) -> Iterator[tuple[str, str, Seen]]:
        """(who, partition, record) of everything that was read, the log itself included, and of
        each replica what it holds below its high watermark."""
        for poll in self.history.polls:
            for seen in poll.records:
                yield f"{poll.consumer}.{poll.session}", poll.key, seen
        for key, records in self.history.drain.items():
            for seen in records:
                yield "drain", key, seen
        for key, records in self.history.log.items():
            for seen in records:
                yield "log", key, seen
        for replica in self.history.replicas:
            for seen in replica.records:
                if seen.offset < replica.high_watermark:
                    yield f"replica {replica.node}", replica.key, seen


def _lost_write(facts: _Facts) -> Iterator[Finding]:
    for send in facts.ok():
        if facts.promised(send.key, send.offset) and not facts.offsets(send.key, send.value):
            yield "lost-write", f"{send.value} was acknowledged at {send.key}@{send.offset}"


def _misplaced_write(facts: _Facts) -> Iterator[Finding]:
    for send in facts.ok():
        if not facts.promised(send.key, send.offset):
            continue
        elsewhere = facts.offsets(send.key, send.value)
        occupied = facts.at.get(send.key, {}).get(send.offset, [])
        if (elsewhere or occupied) and not facts.stands(send.key, send.offset, send.value):
            found = [seen.value for seen in occupied] or f"it at {elsewhere}"
            yield (
                "misplaced-write",
                f"{send.value} was acknowledged at {send.key}@{send.offset}, the log has {found}",
            )


def _content(facts: _Facts) -> Iterator[Finding]:
    for who, key, seen in facts.reads():
        send = facts.sent.get(seen.value)
        where = f"{seen.value} at {key}@{seen.offset}, read by {who}"
        if send is None or send.key != key:
            yield "phantom", f"{where}: nobody sent it there"
        elif send.digest != seen.digest:
            yield "corrupt-record", where
        elif send.result == "fail":
            yield "failed-write-visible", f"{where}, was refused: {send.error}"


def _inconsistent_offsets(facts: _Facts) -> Iterator[Finding]:
    known: dict[tuple[str, int], tuple[str, str]] = {}
    claims = [(f"ack of {send.producer}", send.key, send.offset, send.value) for send in facts.ok()]
    claims += [(who, key, seen.offset, seen.value) for who, key, seen in facts.reads()]
    for who, key, offset, value in claims:
        first = known.setdefault((key, offset), (value, who))
        if first[0] != value:
            yield (
                "inconsistent-offsets",
                f"{key}@{offset}: {first[0]} for {first[1]}, {value} for {who}",
            )


def _duplicate(facts: _Facts) -> Iterator[Finding]:
    places: dict[tuple[str, str], set[int]] = defaultdict(set)
    counts: dict[tuple[str, str, str, int], int] = defaultdict(int)
    for who, key, seen in facts.reads():
        places[key, seen.value].add(seen.offset)
        if who == "log" or who.startswith("replica"):
            counts[who, key, seen.value, seen.offset] += 1
    for (key, value), offsets in places.items():
        if len(offsets) > 1:
            yield "duplicate", f"{value} in {key} at {sorted(offsets)}"
    for (who, key, value, offset), count in counts.items():
        if count > 1:
            yield "duplicate", f"{value} in {key} {count} times at {offset} ({who})"


def _dirty_tail_read(facts: _Facts) -> Iterator[Finding]:
    for poll in facts.history.polls:
        for seen in poll.records:
            if not facts.promised(poll.key, seen.offset):
                continue
            if not facts.stands(poll.key, seen.offset, seen.value):
                yield (
                    "dirty-tail-read",
                    f"{poll.consumer} read {seen.value} at {poll.key}@{seen.offset}, "
                    "the log does not have it there",
                )


def _by_producer(sends: Iterable[Send]) -> dict[tuple[str, str], list[Send]]:
    groups: dict[tuple[str, str], list[Send]] = defaultdict(list)
    for send in sends:
        groups[send.producer, send.key].append(send)
    for group in groups.values():
        group.sort(key=lambda send: send.number)
    return groups


def _nonmonotonic_send(facts: _Facts) -> Iterator[Finding]:
    for (producer, key), sends in _by_producer(facts.ok()).items():
        for first, second in pairwise(sends):
            if second.offset <= first.offset:
                yield (
                    "nonmonotonic-send",
                    f"{producer} to {key}: {first.value}@{first.offset}, "
                    f"then {second.value}@{second.offset}",
                )


def _reordered(facts: _Facts) -> Iterator[Finding]:
    for (producer, key), sends in _by_producer(facts.history.sends).items():
        places = [(send, found[0]) for send in sends if (found := facts.offsets(key, send.value))]
        for (first, before), (second, after) in pairwise(places):
            if after <= before:
                yield (
                    "reordered",
                    f"{producer} to {key}: {first.value} lies at {before}, "
                    f"sent before {second.value} at {after}",
                )


def _step(poll: Poll, last: int, seen: Seen, known: list[int]) -> str:
    if seen.offset <= last:
        return "nonmonotonic-poll"
    low = max(last + 1, poll.floor)
    if any(low <= offset < seen.offset for offset in known[last + 1 : seen.offset]):
        return "poll-skip"
    return ""


def _known_offsets(facts: _Facts) -> dict[str, list[int]]:
    """By partition: a list that has `offset` at index `offset` where a record is known, else -1."""
    known: dict[str, set[int]] = defaultdict(set)
    for _, key, seen in facts.reads():
        known[key].add(seen.offset)
    for send in facts.ok():
        known[send.key].add(send.offset)
    return {
        key: [each if each in offsets else -1 for each in range(max(offsets) + 1)]
        for key, offsets in known.items()
    }


def _polls(facts: _Facts) -> Iterator[Finding]:
    known = _known_offsets(facts)
    last: dict[tuple[str, int, str], int] = {}
    for poll in facts.history.polls:
        session = (poll.consumer, poll.session, poll.key)
        for index, seen in enumerate(poll.records):
            if session in last:
                name = _step(poll, last[session], seen, known[poll.key])
                if name:
                    name = f"int-{name}" if index else name
                    yield name, f"{session}: {last[session]}, then {seen.offset}"
            last[session] = seen.offset


def _unseen(facts: _Facts) -> Iterator[Finding]:
    drained = {
        (key, seen.offset, seen.value)
        for key, records in facts.history.drain.items()
        for seen in records
    }
    for key, records in facts.history.log.items():
        for seen in records:
            if facts.promised(key, seen.offset) and (key, seen.offset, seen.value) not in drained:
                yield "unseen", f"{seen.value} at {key}@{seen.offset} is in the log, not delivered"


def _bounds(facts: _Facts) -> Iterator[Finding]:
    bounds = sorted(facts.history.bounds, key=lambda bound: bound.invoked)
    done = sorted(bounds, key=lambda bound: bound.completed)
    highest: dict[tuple[str, str], int] = {}
    position = 0
    for bound in bounds:
        while position < len(done) and done[position].completed < bound.invoked:
            earlier = done[position]
            place = (earlier.key, earlier.kind)
            highest[place] = max(highest.get(place, 0), earlier.offset)
            position += 1
        before = highest.get((bound.key, bound.kind), 0)
        if bound.offset < before:
            name = "end-offset-regress" if bound.kind == "latest" else "start-offset-regress"
            yield name, f"{bound.key}: {before}, later {bound.offset}"


def _replicas(facts: _Facts) -> Iterator[Finding]:
    return replica_findings(facts.history)


def _stale_bounds(facts: _Facts) -> Iterator[Finding]:
    """What was acknowledged or trimmed before the question must be in the answer."""
    promises = [(send.completed, send.key, "latest", send.offset + 1) for send in facts.ok()]
    promises += [
        (trim.completed, trim.key, "earliest", trim.offset)
        for trim in facts.history.trims
        if trim.completed >= 0
    ]
    promises.sort()
    least: dict[tuple[str, str], int] = {}
    position = 0
    for bound in sorted(facts.history.bounds, key=lambda bound: bound.invoked):
        while position < len(promises) and promises[position][0] < bound.invoked:
            _, key, kind, offset = promises[position]
            least[key, kind] = max(least.get((key, kind), 0), offset)
            position += 1
        want = least.get((bound.key, bound.kind), 0)
        if bound.offset < want:
            name = "stale-latest" if bound.kind == "latest" else "trim-undone"
            yield name, f"{bound.key}: {bound.kind} said {bound.offset}, must be {want} at least"


CHECKS: tuple[Callable[[_Facts], Iterator[Finding]], ...] = (
    _lost_write,
    _misplaced_write,
    _content,
    _inconsistent_offsets,
    _duplicate,
    _dirty_tail_read,
    _nonmonotonic_send,
    _reordered,
    _polls,
    _unseen,
    _bounds,
    _stale_bounds,
    _replicas,
)

#: Every name a verdict may contain.
ANOMALIES = (
    "lost-write",
    "misplaced-write",
    "corrupt-record",
    "phantom",
    "failed-write-visible",
    "inconsistent-offsets",
    "duplicate",
    "dirty-tail-read",
    "nonmonotonic-send",
    "reordered",
    "poll-skip",
    "nonmonotonic-poll",
    "int-poll-skip",
    "int-nonmonotonic-poll",
    "unseen",
    "end-offset-regress",
    "start-offset-regress",
    "stale-latest",
    "trim-undone",
    *REPLICA_ANOMALIES,
)


def check(history: History) -> Verdict:
    """Run every check over `history`."""
    facts = _Facts(history)
    anomalies: dict[str, list[str]] = {}
    for each in CHECKS:
        for name, witness in each(facts):
            witnesses = anomalies.setdefault(name, [])
            if len(witnesses) < WITNESSES_MAX:
                witnesses.append(witness)
    return Verdict(anomalies)
