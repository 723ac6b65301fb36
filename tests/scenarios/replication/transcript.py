"""The language of the replication transcripts: what a machine is told in, what it wants done out.

    > lead isr=1,2,3 end=10      node 1 leads replicas 1, 2, 3, registered as processes 11, 12, 13
    > at 2 12                    node 2 is durable up to 12; `process=22`: another process says so
    > own 12 | > gone 3 | > time 3000 | > refused | > unknown
    > assigned isr=1,2 change=1  with `out=3` where a node is out of service

    > follow end=10 epochs=1:0,2:6 hw=5      epoch 1 begins at 0, epoch 2 at 6
    > begin | > connected | > disconnected | > time 100 | > failed
    > chunk bytes=9 hw=12 start=0 | > diverges 1 6 | > too-low 20 | > cannot-serve
    > appended 14 4 | > truncated 6 1 | > restarted 20

Leader epochs are 4, and `min-isr` is 2 where a transcript does not say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from logd.model.ids import LeaderEpoch, NodeId
from logd.replication import (
    Alarm,
    AppendChunk,
    Appended,
    AppendFailed,
    Assigned,
    Assignment,
    Begin,
    Chunk,
    Connected,
    Disconnected,
    Diverges,
    FollowerAt,
    FollowerEffect,
    FollowerEvent,
    FollowerGone,
    HighWatermarkMoved,
    LeaderEffect,
    LeaderEvent,
    OwnEnd,
    PartitionFollower,
    PartitionLeader,
    ProposalAnswered,
    ProposeIsr,
    RestartAt,
    Restarted,
    RetryAt,
    SendPosition,
    Tick,
    TrimTo,
    Truncated,
    TruncateTo,
)
from tests.scenarios.replay import replayed

_EPOCH = LeaderEpoch(4)
_LAG_MS = 3_000
_REPLICAS = (NodeId(1), NodeId(2), NodeId(3))


class Session:
    """Runs the commands of one transcript; one machine at a time."""

    def __init__(self) -> None:
        self._machine: PartitionLeader | PartitionFollower | None = None
        self._now_ms = 0
        self._min_isr = 2

    def run(self, line: str) -> Iterator[str]:
        name, *words = line.split()
        options = dict(word.split("=", 1) for word in words if "=" in word)
        numbers = [int(word) for word in words if "=" not in word]
        if name == "time":
            self._now_ms = numbers[0]
        if name in {"lead", "follow"}:
            self._now_ms = 0
            begin = self._lead if name == "lead" else self._follow
            self._machine = begin(options)
        elif isinstance(self._machine, PartitionLeader):
            effects = self._machine.handle(self._to_leader(name, numbers, options))
            yield from map(_shown, effects)
        elif isinstance(self._machine, PartitionFollower):
            told = self._machine.handle(self._to_follower(name, numbers, options))
            yield from map(_shown, told)

    def _lead(self, options: dict[str, str]) -> PartitionLeader:
        self._min_isr = int(options.get("min-isr", "2"))
        return PartitionLeader(
            NodeId(1),
            self._assignment(options),
            start_offset=int(options.get("start", "0")),
            end_offset=int(options["end"]),
            high_watermark=int(options.get("hw", "0")),
            lag_ms_max=_LAG_MS,
            now_ms=0,
        )

    def _assignment(self, options: dict[str, str]) -> Assignment:
        out = _nodes(options.get("out", ""))
        registered = {node: 10 + node for node in _REPLICAS if node not in out}
        for again in filter(None, options.get("again", "").split(",")):
            registered[NodeId(int(again))] += 10
        return Assignment(
            leader_epoch=_EPOCH,
            partition_epoch=int(options.get("change", "0")),
            replicas=_REPLICAS,
            isr=_nodes(options["isr"]),
            node_epochs=registered,
            min_isr=self._min_isr,
        )

    def _follow(self, options: dict[str, str]) -> PartitionFollower:
        pairs = (pair.split(":") for pair in options["epochs"].split(","))
        starts = {int(epoch): int(start) for epoch, start in pairs}
        end = int(options["end"])

        def end_offset_for(epoch: int) -> tuple[int, int]:
            known = max((each for each in starts if each <= epoch), default=-1)
            following = (starts[each] for each in starts if each > known)
            return (known, min(following, default=end)) if known >= 0 else (-1, -1)

        return PartitionFollower(
            _EPOCH,
            end_offset=end,
            last_epoch=max(starts),
            high_watermark=int(options["hw"]),
            start_offset=int(options.get("start", "0")),
            end_offset_for=end_offset_for,
        )

    def _to_leader(self, name: str, numbers: list[int], options: dict[str, str]) -> LeaderEvent:
        now_ms = self._now_ms
        match name:
            case "own":
                return OwnEnd(numbers[0], now_ms)
            case "at":
                node_id, end = numbers
                process = int(options.get("process", 10 + node_id))
                return FollowerAt(NodeId(node_id), process, end, now_ms)
            case "gone":
                return FollowerGone(NodeId(numbers[0]), now_ms)
            case "assigned":
                return Assigned(self._assignment(options), now_ms)
            case "refused" | "unknown":
                assert isinstance(self._machine, PartitionLeader)
                change = self._machine.assignment.partition_epoch
                return ProposalAnswered(change, refused=name == "refused", now_ms=now_ms)
            case "time":
                return Tick(now_ms)
            case _:
                raise ValueError(f"a leader is not told {name!r}")

    def _to_follower(self, name: str, numbers: list[int], options: dict[str, str]) -> FollowerEvent:
        match name:
            case "begin":
                return Begin(self._now_ms)
            case "connected":
                return Connected()
            case "disconnected":
                return Disconnected()
            case "appended":
                return Appended(*numbers)
            case "truncated":
                return Truncated(*numbers)
            case "restarted":
                return Restarted(*numbers)
            case "failed":
                return AppendFailed(self._now_ms)
            case "time":
                return Tick(self._now_ms)
            case _:
                return self._chunk(name, numbers, options)

    def _chunk(self, name: str, numbers: list[int], options: dict[str, str]) -> Chunk:
        if name not in {"chunk", "diverges", "too-low", "cannot-serve"}:
            raise ValueError(f"a follower is not told {name!r}")
        too_low = name == "too-low"
        return Chunk(
            leader_epoch=LeaderEpoch(int(options.get("epoch", _EPOCH))),
            size_bytes=int(options.get("bytes", "0")),
            high_watermark=int(options.get("hw", "0")),
            log_start_offset=numbers[0] if too_low else int(options.get("start", "0")),
            append_time_ms=0,
            forgotten_end=int(options.get("forgotten", "0")),
            diverging=Diverges(*numbers) if name == "diverges" else None,
            too_low=too_low,
            refused=name == "cannot-serve",
            now_ms=self._now_ms,
        )


def _nodes(text: str) -> tuple[NodeId, ...]:
    return tuple(NodeId(int(node)) for node in text.split(",") if node)


def _shown(effect: LeaderEffect | FollowerEffect) -> str:
    match effect:
        case HighWatermarkMoved(offset):
            return f"committed {offset}"
        case ProposeIsr(change, isr):
            return f"propose isr={','.join(f'{node}@{epoch}' for node, epoch in isr)} from {change}"
        case SendPosition(end, epoch):
            return f"position {end} after epoch {epoch}"
        case AppendChunk(forgotten_end):
            return f"append, deletes missing below {forgotten_end}" if forgotten_end else "append"
        case TruncateTo(offset):
            return f"truncate to {offset}"
        case RestartAt(offset):
            return f"restart at {offset}"
        case TrimTo(offset):
            return f"trim to {offset}"
        case RetryAt(at_ms):
            return f"retry at {at_ms}"
        case Alarm(text):
            return f"alarm: {text}"
        case _:
            assert_never(effect)


def transcript(text: str) -> str:
    return replayed(text, Session().run)
