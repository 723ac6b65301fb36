"""The language of the groups' transcripts: who says what in, what goes to the log and back out.

    > topics orders=4 letters=2
    > join a orders              with `instance=i`, `assignor=range`, `pattern=o.*`
    > beat a                     says the newest epoch; `epoch=3`; `owned=orders:0,1`, `owned=-`
    > leave a | > go a           for good; as a static member that comes back
    > commit a orders:0 5        with `epoch=3`, `sequence=2`; `commit - orders:0 5` without member
    > offsets | > waiting
    > time 3000                  milliseconds pass, and the coordinator looks at its deadlines
    > failover                   another coordinator reads the log

Sessions are 6 s and rebalance timeouts 10 s long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from logd_wire.errors import LogdError

from logd.groups import (
    LEAVING,
    LEAVING_STATIC,
    CurrentMember,
    Forgotten,
    GroupEpoch,
    GroupRecord,
    HeartbeatReply,
    MemberKept,
    OffsetCommitted,
    Partitions,
    TargetEpoch,
    TargetMember,
)
from logd.model.ids import TopicPartitionId
from tests.scenarios.replay import replayed
from tests.unit.groups.rig import GROUP, Coordinator, parts, topics


class Session:
    """Runs the commands of one transcript against one group."""

    def __init__(self) -> None:
        self._there = Coordinator()

    def run(self, line: str) -> Iterator[str]:
        name, *words = line.split()
        options = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        begun = len(self._there.log)
        try:
            answered = list(self._act(name, plain, options))
        except LogdError as error:
            answered = [f"refused {error.code.name}: {error.message}"]
        yield from map(_shown, self._there.log[begun:])
        yield from answered

    def _act(self, name: str, words: list[str], options: dict[str, str]) -> Iterator[str]:
        there = self._there
        match name:
            case "topics":
                there.change_topics(topics(**{key: int(value) for key, value in options.items()}))
            case "join" | "beat" | "leave" | "go":
                yield _answered(self._heartbeat(name, words, options))
            case "commit":
                yield from self._commit(words, options)
            case "offsets":
                offsets = sorted(there.offsets().items())
                yield " ".join(f"{_partitions([each])}@{offset}" for each, offset in offsets)
            case "waiting":
                yield " ".join(there.groups.waiting(GROUP)) or "nobody"
            case "time":
                there.after(int(words[0]))
            case "failover":
                self._there = there.failed_over()
            case _:
                raise ValueError(name)

    def _heartbeat(self, name: str, words: list[str], options: dict[str, str]) -> HeartbeatReply:
        there, member_id = self._there, words[0]
        instance_id = options.get("instance")
        if name == "join":
            return there.join(
                member_id,
                *words[1:],
                instance_id=instance_id,
                pattern=options.get("pattern"),
                assignor=options.get("assignor"),
            )
        if name != "beat":
            epoch = LEAVING if name == "leave" else LEAVING_STATIC
            return there.heartbeat(member_id, epoch, instance_id=instance_id)
        owned = options.get("owned")
        return there.heartbeat(
            member_id,
            self._epoch(member_id, options),
            instance_id=instance_id,
            owned=None if owned is None else _parsed(owned),
        )

    def _commit(self, words: list[str], options: dict[str, str]) -> Iterator[str]:
        member_id, partition, offset = words
        member_id = member_id.strip("-")
        epoch = self._epoch(member_id, options)
        sequence = int(options.get("sequence", 0))
        partitions = sorted(_parsed(partition))
        outcomes = self._there.commit(member_id, epoch, int(offset), *partitions, sequence=sequence)
        yield " ".join("stored" if each is None else each.code.name for each in outcomes)

    def _epoch(self, member_id: str, options: dict[str, str]) -> int:
        if "epoch" in options:
            return int(options["epoch"])
        return self._there.member(member_id).member_epoch if member_id else -1


def _parsed(text: str) -> Partitions:
    if text == "-":
        return frozenset()
    name, numbers = text.split(":")
    return parts(name, *map(int, numbers.split(",")))


def _partitions(partitions: Iterable[TopicPartitionId]) -> str:
    by_topic: dict[str, list[str]] = {}
    for each in sorted(partitions):
        name = each.topic_id.decode().split("#")[0]
        by_topic.setdefault(name, []).append(str(each.partition))
    return " ".join(f"{name}:{','.join(numbers)}" for name, numbers in by_topic.items()) or "-"


def _shown(record: GroupRecord) -> str:
    match record:
        case GroupEpoch():
            since = "" if record.empty_since_ms < 0 else f" empty since {record.empty_since_ms}"
            return f"group epoch {record.epoch}{since}"
        case MemberKept():
            return f"member {record.member_id} {' '.join(record.topics)} {record.pattern}".rstrip()
        case TargetEpoch():
            return f"targets for {record.epoch}"
        case TargetMember():
            return f"target {record.member_id} {_partitions(record.partitions)}"
        case CurrentMember():
            held = f"{record.state.value} {_partitions(record.assigned)}"
            gives = f" gives up {_partitions(record.revoking)}" if record.revoking else ""
            return f"epoch {record.epoch} {record.member_id} {held}{gives}"
        case OffsetCommitted():
            partition = TopicPartitionId(record.topic_id, record.partition)
            return f"offset {_partitions([partition])} {record.offset}"
        case Forgotten():
            key = record.key
            return f"forgotten {type(key).__name__} {getattr(key, 'member_id', '')}".rstrip()


def _answered(reply: HeartbeatReply) -> str:
    told = "" if reply.assignment is None else f" holds {_partitions(reply.assignment)}"
    return f"-> {reply.member_id} epoch {reply.member_epoch}{told}"


def transcript(text: str) -> str:
    """Return the text with the trace under each command as it is now."""
    return replayed(text, Session().run)
