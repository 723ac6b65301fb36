"""What the replicas of a partition must have in common, and what the epochs of its leaders forbid.

A replica's dump is believed below its own high watermark only: what lies above may be cut yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from tests.sim.history import History, Replica, Seen, Send

Finding = tuple[str, str]

REPLICA_ANOMALIES = (
    "replica-divergence",
    "replica-lost",
    "unreplicated-ack",
    "epoch-conflict",
    "stale-leader-ack",
)


def replica_findings(history: History) -> Iterator[Finding]:
    """Every finding about replicas and epochs; none where there was one replica and no failover."""
    replicas: dict[str, list[Replica]] = defaultdict(list)
    for replica in history.replicas:
        replicas[replica.key].append(replica)
    acknowledged: dict[str, list[Send]] = defaultdict(list)
    for send in history.sends:
        if send.result == "ok":
            acknowledged[send.key].append(send)
    for key, dumps in sorted(replicas.items()):
        for first, second in combinations(dumps, 2):
            yield from _divergence(history, first, second)
            yield from _epoch_conflict(first, second)
        yield from _acknowledged(history, dumps, acknowledged[key])
    for key, sends in sorted(acknowledged.items()):
        yield from _stale_leader(key, sends)


def _divergence(history: History, first: Replica, second: Replica) -> Iterator[Finding]:
    end = min(first.high_watermark, second.high_watermark)
    start = max(first.start_offset, second.start_offset, history.floor(first.key))
    one, other = _between(first, start, end), _between(second, start, end)
    for offset in sorted({*one, *other}):
        if one.get(offset) != other.get(offset):
            yield (
                "replica-divergence",
                f"{first.key}@{offset}: node {first.node} has {_values(one.get(offset))}, "
                f"node {second.node} has {_values(other.get(offset))}",
            )
            # What follows a difference differs because of it.
            return


def _between(replica: Replica, start: int, end: int) -> dict[int, list[Seen]]:
    found: dict[int, list[Seen]] = defaultdict(list)
    for seen in replica.records:
        if start <= seen.offset < end:
            found[seen.offset].append(seen)
    return dict(found)


def _values(records: list[Seen] | None) -> str:
    return ", ".join(f"{seen.value} ({seen.digest:.12})" for seen in records or ()) or "nothing"


def _epoch_conflict(first: Replica, second: Replica) -> Iterator[Finding]:
    """One epoch has one leader, and so one first offset."""
    end = min(first.high_watermark, second.high_watermark)
    for epoch in sorted(first.epochs.keys() & second.epochs.keys()):
        one, other = first.epochs[epoch], second.epochs[epoch]
        if one != other and min(one, other) < end:
            yield (
                "epoch-conflict",
                f"{first.key}: epoch {epoch} begins at {one} on node {first.node}, "
                f"at {other} on node {second.node}",
            )


def _acknowledged(history: History, dumps: list[Replica], sends: list[Send]) -> Iterator[Finding]:
    floor = history.floor(dumps[0].key)
    highest = max(replica.high_watermark for replica in dumps)
    held = [{(seen.offset, seen.value) for seen in replica.records} for replica in dumps]
    for send in sends:
        if send.offset < floor:
            continue
        if send.offset >= highest:
            yield (
                "unreplicated-ack",
                f"{send.value} was acknowledged at {send.key}@{send.offset}, "
                f"the high watermark is {highest}",
            )
        for replica, records in zip(dumps, held, strict=True):
            if not replica.start_offset <= send.offset < replica.high_watermark:
                continue
            if (send.offset, send.value) not in records:
                yield (
                    "replica-lost",
                    f"{send.value} was acknowledged at {send.key}@{send.offset}, "
                    f"node {replica.node} does not have it there",
                )


def _stale_leader(key: str, sends: list[Send]) -> Iterator[Finding]:
    """A leader asked after a later epoch had acknowledged is deposed, and acknowledges nothing."""
    known = [send for send in sends if send.leader_epoch >= 0]
    done = sorted(known, key=lambda send: send.completed)
    newest, position = -1, 0
    for send in sorted(known, key=lambda send: send.invoked):
        while position < len(done) and done[position].completed < send.invoked:
            newest = max(newest, done[position].leader_epoch)
            position += 1
        if send.leader_epoch < newest:
            yield (
                "stale-leader-ack",
                f"{send.value} to {key} was acknowledged in epoch {send.leader_epoch}, "
                f"asked after an acknowledgement of epoch {newest}",
            )
