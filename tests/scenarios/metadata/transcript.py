"""The language of the metadata transcripts: commands in, records, reply or refusal out.

    > create-topic orders id=t1 partitions=2 retention.ms=7d
    record TopicCreated t1 orders retention.ms=604800000
           0 leader=1 epoch=0 replicas=1 isr=1 change=0
    reply  t1 orders ...

A command line begins with `>`; what follows is the trace. Ids are short texts. Decided records
are replayed at once; `> commit` marks what is committed, `> lose-leadership` drops the rest.
`> join 1 2` registers, unfences and adds voters of which nothing is shown; `> snapshot` goes on
with what the image's own records rebuild.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from logd_wire.errors import LogdError

from logd.metadata import (
    AddVoter,
    AllocateProducerIds,
    AlterTopic,
    BalanceLeaders,
    ChangePartition,
    ClusterImage,
    Command,
    CreateTopic,
    DeleteTopic,
    ElectLeaders,
    FenceNode,
    FormCluster,
    Member,
    MetadataMachine,
    MetadataRecord,
    MetadataSettings,
    NodeImage,
    NodeRemoval,
    PartitionChanges,
    PartitionImage,
    ProducerIdBlock,
    ReassignPartition,
    RegisterNode,
    RemoveNode,
    ReplaceNode,
    Reply,
    ReportDamage,
    TopicImage,
    TransferLeader,
    UnfenceNode,
    UpdateVoter,
    VoterImage,
    VotersChanged,
    VoterSet,
    find_problems,
    image_records,
    replay,
)
from logd.metadata.records import (
    ClusterFormed,
    NodeFenced,
    NodeRemoved,
    NodeUnfenced,
    Overrides,
    PartitionChanged,
    PartitionsAdded,
    ProducerIdsAllocated,
    RequestDone,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
)
from logd.model.ids import (
    NO_NODE,
    ClusterId,
    DirectoryId,
    LeaderEpoch,
    NodeId,
    TopicId,
    TopicPartitionId,
)
from tests.scenarios.replay import replayed

_NOW_MS = 1_790_000_000_000


class Session:
    """Runs the commands of one transcript."""

    def __init__(self) -> None:
        self._machine = MetadataMachine(MetadataSettings())
        self._committed = ClusterImage()
        self._log: list[MetadataRecord] = []
        self._committed_length = 0

    def run(self, line: str) -> list[str]:
        """Return the trace of one command line, without the `>`."""
        verb, *words = line.split()
        match verb:
            case "settings":
                self._machine = MetadataMachine(_settings(words), self._machine.image)
                return []
            case "commit":
                self._committed = self._machine.image
                self._committed_length = len(self._log)
                return []
            case "lose-leadership":
                del self._log[self._committed_length :]
                self._machine.reset(self._committed)
                return []
            case "restart":
                self._machine.reset(replay(ClusterImage(), self._log))
                return []
            case "snapshot":
                self._log = list(image_records(self._machine.image))
                self._machine.reset(replay(ClusterImage(), self._log))
                return []
            case "join":
                return [line for word in words for line in self._join(word)]
            case "change-partition":
                return self._take((_change(words),))
            case "image":
                return list(_image(self._machine.image))
            case _:
                return self._decide(self._command(verb, words))

    def _join(self, node: str) -> list[str]:
        """Register under plain names, unfence, let vote; what is said is only said when refused."""
        for line in (f"register {node}", f"unfence {node}", f"add-voter {node}"):
            for traced in self.run(line):
                if traced.startswith("refused"):
                    return [traced]
        return []

    def _command(self, verb: str, words: list[str]) -> Command:
        (subject, *_), options = _options(words or ["-"])
        if verb not in {"fence", "unfence", "propose", "damage"}:
            return _command(verb, words)
        if verb == "propose":
            return self._proposal(words)
        node = self._machine.image.nodes.get(NodeId(int(subject)))
        known = _text(node.incarnation_id) if node else "i"
        incarnation = _id(options.get("incarnation", known))
        if verb == "damage":
            key = TopicPartitionId(TopicId(_id(options["topic"])), int(options["partition"]))
            return ReportDamage(NodeId(int(subject)), incarnation, (key,), "leads-on" in words)
        return (FenceNode if verb == "fence" else UnfenceNode)(NodeId(int(subject)), incarnation)

    def _proposal(self, words: list[str]) -> ChangePartition:
        """`propose t1 0 isr=1,2`: as the leader of now; `2@1`: node 2 at node epoch 1."""
        (topic, number), options = _options(words)
        state = self._machine.image.topic(TopicId(_id(topic))).partition(int(number))
        return ChangePartition(
            TopicId(_id(topic)),
            int(number),
            self._member(options.get("leader", str(state.leader_id))),
            LeaderEpoch(int(options.get("epoch", state.leader_epoch))),
            int(options.get("change", state.partition_epoch)),
            tuple(self._member(part) for part in options["isr"].split(",")),
        )

    def _member(self, text: str) -> Member:
        node_id, _, epoch = text.partition("@")
        node = self._machine.image.nodes.get(NodeId(int(node_id)))
        return Member(NodeId(int(node_id)), int(epoch or (node.node_epoch if node else 0)))

    def _decide(self, command: Command) -> list[str]:
        try:
            outcome = self._machine.handle(command, _NOW_MS)
        except LogdError as error:
            return [f"refused {error.code.name}: {error}"]
        reply = _reply(outcome.reply)
        return [*self._take(outcome.records), f"reply  {reply[0]}", *reply[1:]]

    def _take(self, records: tuple[MetadataRecord, ...]) -> list[str]:
        self._machine.replay(*records)
        self._log.extend(records)
        assert find_problems(self._machine.image) == []
        lines = []
        for record in records:
            first, *rest = _record(record)
            lines += [f"record {type(record).__name__} {first}", *rest]
        return lines


def transcript(text: str) -> str:
    """Return the text with the trace under each command as it is now."""
    return replayed(text, Session().run)


def _id(text: str) -> bytes:
    return text.encode().ljust(16, b".")


def _text(value: bytes) -> str:
    return value.decode().rstrip(".") or "-"


def _options(words: list[str]) -> tuple[list[str], dict[str, str]]:
    plain = [word for word in words if "=" not in word]
    return plain, dict(word.split("=", 1) for word in words if "=" in word)


def _settings(words: list[str]) -> MetadataSettings:
    _, options = _options(words)
    return MetadataSettings(
        int(options.pop("partitions", 1)),
        int(options.pop("replication", -1)),
        replication_factor_max=int(options.pop("most", 32_767)),
        changes_per_entry_max=int(options.pop("changes", 2_000)),
        topic_defaults=options,
    )


def _command(verb: str, words: list[str]) -> Command:
    plain, options = _options(words)
    subject, flags = (plain[0], plain[1:]) if plain else ("", [])
    command: Command
    match verb:
        case "form":
            command = FormCluster(ClusterId(_id(subject)))
        case "register":
            command = RegisterNode(
                NodeId(int(subject)),
                DirectoryId(_id(options.get("directory", f"d{subject}"))),
                _id(options.get("incarnation", f"i{subject}")),
                options.get("address", f"n{subject}:1"),
                options.get("rack", ""),
                options.get("peer", f"n{subject}:2"),
            )
        case "create-topic":
            topic_id = TopicId(_id(options.pop("id", "")))
            partitions = int(options.pop("partitions", 0))
            replicas = int(options.pop("replicas", -1))
            plan = "plan" in flags
            command = CreateTopic(topic_id, subject, partitions, replicas, options, plan)
        case "delete-topic":
            command = DeleteTopic(subject)
        case "alter-topic":
            partitions = int(options.pop("partitions", 0))
            request = _request(options)
            deleted = tuple(flag[1:] for flag in flags if flag.startswith("-"))
            plan = "plan" in flags
            command = AlterTopic(subject, options, deleted, partitions, plan, request)
        case "allocate-ids":
            command = AllocateProducerIds(NodeId(int(subject)), int(options.get("count", 1_000)))
        case _:
            command = _of_cluster(verb, subject, flags, options)
    return command


def _request(options: dict[str, str]) -> bytes:
    """`request=r1`: as whoever drew this id."""
    return _id(options.pop("request")) if "request" in options else b""


def _of_cluster(verb: str, subject: str, flags: list[str], options: dict[str, str]) -> Command:
    node_id = NodeId(int(subject) if subject.isdigit() else NO_NODE)
    directory = DirectoryId(_id(options["directory"]) if "directory" in options else b"")
    match verb:
        case "add-voter":
            return AddVoter(node_id)
        case "update-voter":
            return UpdateVoter(node_id)
        case "remove-node":
            return RemoveNode(node_id, directory)
        case "replace-node":
            return ReplaceNode(node_id, directory, "accept-data-loss" in flags)
        case "transfer":
            topic, partition = TopicId(_id(options["topic"])), int(options["partition"])
            return TransferLeader(topic, partition, node_id, _request(options))
        case "reassign":
            target = None if "back" in flags else _nodes(options["to"])
            partition = int(options.get("partition", 0))
            return ReassignPartition(TopicId(_id(subject)), partition, target, _request(options))
        case "elect":
            return ElectLeaders()
        case "balance":
            return BalanceLeaders()
        case _:
            raise ValueError(f"unknown command {verb}")


def _change(words: list[str]) -> PartitionChanged:
    (topic, number), options = _options(words)
    state = PartitionImage(
        int(number),
        NodeId(int(options["leader"])),
        LeaderEpoch(int(options["epoch"])),
        _nodes(options["replicas"]),
        _nodes(options["isr"]),
        int(options["change"]),
        _nodes(options.get("elr", "")),
        NodeId(int(options.get("last", NO_NODE))),
    )
    return PartitionChanged(TopicId(_id(topic)), state)


def _nodes(text: str) -> tuple[NodeId, ...]:
    return tuple(NodeId(int(part)) for part in text.split(",") if part)


def _record(record: MetadataRecord) -> list[str]:  # noqa: C901, PLR0912 - dispatch
    match record:
        case ClusterFormed():
            return [_text(record.cluster_id)]
        case NodeImage():
            return [_node(record)]
        case TopicCreated():
            first = f"{_text(record.topic_id)} {record.name}{_config(record.overrides)}"
            return [first, *_partitions(record.partitions)]
        case TopicConfigured():
            return [f"{_text(record.topic_id)}{_config(record.overrides)}"]
        case PartitionsAdded():
            return [_text(record.topic_id), *_partitions(record.partitions)]
        case TopicDeleted():
            return [_text(record.topic_id)]
        case ProducerIdsAllocated():
            end = record.first_id + record.count
            return [f"[{record.first_id}, {end}) to node {record.node_id}"]
        case PartitionChanged():
            return [_text(record.topic_id), *_partitions((record.state,))]
        case NodeFenced() | NodeUnfenced():
            return [f"{record.node_id} incarnation={_text(record.incarnation_id)}"]
        case NodeRemoved():
            directory = _text(record.directory_id)
            return [f"{record.node_id} directory={directory} epoch={record.node_epoch}"]
        case VotersChanged():
            return [_voters(record.voters)]
        case RequestDone():
            return [f"{_text(record.request_id)} {_text(record.topic_id)}"]
        case _:
            assert_never(record)


def _reply(reply: Reply) -> list[str]:
    match reply:
        case bytes():
            return [_text(reply)]
        case NodeImage():
            return [_node(reply)]
        case TopicImage():
            first = f"{_text(reply.topic_id)} {reply.name}{_config(reply.overrides)}"
            return [first, *_partitions(reply.partitions)]
        case ProducerIdBlock():
            return [f"[{reply.first_id}, {reply.first_id + reply.count})"]
        case PartitionImage():
            return ["partition", *_partitions((reply,))]
        case VoterSet():
            return [_voters(reply.voters)]
        case NodeRemoval():
            return [f"{reply.node_id} {'done' if reply.done else 'ask again'}"]
        case PartitionChanges():
            return [f"{reply.count} changed{', ask again' if reply.more else ''}"]
        case _:
            assert_never(reply)


def _node(node: NodeImage) -> str:
    return (
        f"{node.node_id} directory={_text(node.directory_id)} "
        f"incarnation={_text(node.incarnation_id)} address={node.address} "
        f"peer={node.peer_address or '-'} rack={node.rack or '-'} epoch={node.node_epoch}"
        f"{' fenced' if node.fenced else ''}"
    )


def _voters(voters: Iterable[VoterImage]) -> str:
    return " ".join(
        f"{voter.node_id}@{_text(voter.directory_id)}={voter.address or '-'}" for voter in voters
    )


def _config(overrides: Overrides) -> str:
    return "".join(f" {name}={value}" for name, value in overrides)


def _partitions(partitions: Iterable[PartitionImage]) -> list[str]:
    return [
        f"       {state.partition} leader={state.leader_id} epoch={state.leader_epoch} "
        f"replicas={','.join(map(str, state.replicas))} isr={','.join(map(str, state.isr))} "
        f"change={state.partition_epoch}{_beside(state)}"
        for state in partitions
    ]


def _beside(state: PartitionImage) -> str:
    eligible = f" elr={','.join(map(str, state.eligible))}" if state.eligible else ""
    known = state.last_known_leader
    damaged = f" damaged={','.join(map(str, state.damaged))}" if state.damaged else ""
    adding = f" adding={','.join(map(str, state.adding))}" if state.adding else ""
    target = f" target={','.join(map(str, state.target))}" if state.target else ""
    last = f" last={known}" if known != NO_NODE else ""
    return eligible + last + damaged + adding + target


def _image(image: ClusterImage) -> Iterator[str]:
    cluster = "not formed" if image.cluster_id is None else _text(image.cluster_id)
    yield f"cluster {cluster}, next producer id {image.next_producer_id}"
    for _, node in sorted(image.nodes.items()):
        yield f"node   {_node(node)}"
    if image.voters:
        yield f"voters {_voters(image.voters)}"
    for removed in image.removed.values():
        yield f"gone   {removed.node_id} directory={_text(removed.directory_id)}"
    for topic in image.topics_by_name():
        yield f"topic  {_text(topic.topic_id)} {topic.name}{_config(topic.overrides)}"
        yield from _partitions(topic.partitions)
