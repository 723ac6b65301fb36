"""Who may speak to a node, and in which words others are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from logd_wire.errors import (
    ErrorCode,
    InvalidRequestError,
    LogdError,
    NotLeaderError,
    ShuttingDownError,
)

from logd.consensus.log_types import LOG_START, Voter
from logd.consensus.messages import (
    AppendRequest,
    Body,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
    VoteRequest,
)
from logd.metadata import ClusterImage, Command, DeleteTopic, RegisterNode, replay
from logd.metadata.records import ClusterFormed, NodeRegistered, NodeRemoved
from logd.model.addresses import parse_peers
from logd.model.ids import (
    NO_NODE,
    ClusterId,
    DirectoryId,
    LogIndex,
    NodeId,
    Term,
    TopicId,
    TopicPartitionId,
)
from logd.runtime.addresses import AddressBook
from logd.runtime.peer_service import Member, PeerService
from logd.runtime.peers import (
    AskBounds,
    Bounds,
    BoundsQuery,
    BoundsTold,
    Identified,
    Identify,
    NodeHeartbeat,
    NodeHeartbeatAnswer,
    PeerIdentity,
    Submit,
    Submitted,
)
from logd.runtime.replica_frames import ReplicaSource

CLUSTER = ClusterId(b"c" * 16)
VOTE = VoteRequest(Term(2), LOG_START, pre_vote=False)
APPEND = AppendRequest(Term(2), LOG_START, (), LogIndex(0))


def directory(name: str) -> DirectoryId:
    return DirectoryId(name.encode().ljust(16, b"."))


def registered(node: int, folder: str) -> NodeRegistered:
    address = f"node-{node}:1"
    return NodeRegistered(
        NodeId(node), directory(folder), b"i" * 16, "clients:1", "", address, node, fenced=False
    )


IMAGE = replay(
    ClusterImage(),
    [
        ClusterFormed(CLUSTER),
        registered(1, "one"),
        registered(2, "two"),
        registered(3, "three"),
        registered(4, "lost"),
        NodeRemoved(NodeId(4), directory("lost"), 4),
    ],
)
VOTERS = tuple(
    Voter(NodeId(node), directory(folder), "") for node, folder in ((1, "one"), (2, "two"))
)


class Heard:
    """The drivers behind the service: what they were told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.commands: list[Command] = []
        self.heartbeats: list[NodeHeartbeat] = []
        self.followers: list[NodeId] = []
        self.voters = VOTERS
        self.leader_id: NodeId | None = NodeId(2)
        self.term = Term(7)
        self.image = IMAGE

    def on_message(self, message: Message) -> None:
        self.messages.append(message)

    async def decide(self, command: Command) -> Submitted:
        self.commands.append(command)
        return Submitted(CLUSTER, LogIndex(9))

    async def confirmed_heartbeat(self, call: NodeHeartbeat, *, timeout_ms: int) -> bool:
        self.heartbeats.append(call)
        return False

    async def here(self, queries: Sequence[BoundsQuery]) -> tuple[Bounds, ...]:
        return tuple(Bounds(0, 7) for _ in queries)

    async def serve(self, follower: NodeId, _source: ReplicaSource) -> None:
        self.followers.append(follower)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def service(heard: Heard) -> PeerService:
    made = PeerService(NodeId(1))
    made.introduce(directory("one"), CLUSTER)
    drivers: Any = heard
    book = AddressBook(NodeId(1), "node-1:1", parse_peers("1@node-1:1,2@node-2:1"))
    made.join(Member(CLUSTER, drivers, drivers, drivers, book, drivers, drivers))
    return made


def peer(node: int, folder: str, cluster: ClusterId | None = CLUSTER) -> PeerIdentity:
    return PeerIdentity(cluster, NodeId(node), directory(folder))


def say(service: PeerService, sender: PeerIdentity, body: Body) -> None:
    service.on_message(sender, Message(sender.node_id, sender.directory_id, NodeId(1), body))


def register(node: int, folder: str) -> Submit:
    return Submit(RegisterNode(NodeId(node), directory(folder), b"i" * 16, "clients:1"))


async def replicate(service: PeerService, sender: PeerIdentity, receiver: int = 1) -> None:
    source: Any = None
    await service.on_replicate(sender, NodeId(receiver), source)


async def test_members_are_heard(service: PeerService, heard: Heard) -> None:
    for sender in (peer(2, "two"), peer(3, "three"), peer(9, "new here")):
        say(service, sender, VOTE)
    assert [message.sender for message in heard.messages] == [2, 3, 9]
    call = NodeHeartbeat(NodeId(3), b"i" * 16, LogIndex(5))
    assert await service.on_call(peer(3, "three"), call) == NodeHeartbeatAnswer(False)
    answer = await service.on_call(peer(2, "two"), Submit(DeleteTopic("orders")))
    assert answer == Submitted(CLUSTER, LogIndex(9))
    query = BoundsQuery(TopicPartitionId(TopicId(b"t" * 16), 0))
    told = await service.on_call(peer(2, "two"), AskBounds((query,)))
    assert told == BoundsTold((Bounds(0, 7),))


@pytest.mark.parametrize(
    ("sender", "words"),
    [
        (peer(2, "two", ClusterId(b"x" * 16)), "belongs to cluster"),
        (peer(2, "two", None), "to none"),
        (peer(1, "twin"), "another node says that it is node 1"),
        (peer(2, "emptied"), "logd node replace 2"),
        (peer(3, "emptied"), "logd node replace 3"),
        (peer(4, "lost"), "was taken out of the cluster"),
    ],
)
async def test_others_are_refused_in_words(
    service: PeerService, heard: Heard, sender: PeerIdentity, words: str
) -> None:
    for attempt in (VOTE, HeartbeatResponse(Term(7), 1)):
        with pytest.raises(LogdError) as caught:
            say(service, sender, attempt)
        assert words in str(caught.value)
    with pytest.raises(LogdError):
        await service.on_call(sender, Submit(DeleteTopic("orders")))
    with pytest.raises(LogdError):
        await service.on_call(sender, NodeHeartbeat(sender.node_id, b"i" * 16, LogIndex(0)))
    with pytest.raises(LogdError) as caught:
        await replicate(service, sender)
    assert words in str(caught.value)
    assert (heard.messages, heard.commands, heard.heartbeats) == ([], [], [])
    assert heard.followers == []


async def test_the_leader_of_a_term_is_heard_under_any_directory(
    service: PeerService, heard: Heard
) -> None:
    """This node may be the one that has not heard yet of the replacement."""
    for body in (APPEND, HeartbeatRequest(Term(2), LogIndex(0), 1)):
        say(service, peer(2, "new disk"), body)
    assert len(heard.messages) == 2
    with pytest.raises(LogdError):
        say(service, peer(2, "two", ClusterId(b"x" * 16)), APPEND)


async def test_what_is_meant_for_another_node_is_refused(
    service: PeerService, heard: Heard
) -> None:
    sender = peer(2, "two")
    message = Message(sender.node_id, sender.directory_id, NodeId(3), APPEND)
    with pytest.raises(InvalidRequestError, match="for node 3 came to node 1"):
        service.on_message(sender, message)
    assert heard.messages == []


async def test_followers_are_served_that_mean_this_node(service: PeerService, heard: Heard) -> None:
    await replicate(service, peer(2, "two"))
    await replicate(service, peer(3, "three"))
    assert heard.followers == [2, 3]
    with pytest.raises(InvalidRequestError, match="node 2 means to copy from node 3") as caught:
        await replicate(service, peer(2, "two"), 3)
    assert "cluster.peers" in caught.value.hint
    service.leave()
    with pytest.raises(ShuttingDownError):
        await replicate(service, peer(2, "two"))
    with pytest.raises(NotLeaderError, match="takes part in no cluster yet"):
        await replicate(PeerService(NodeId(1)), peer(2, "two"))
    assert heard.followers == [2, 3]


async def test_a_node_registers_itself_alone(service: PeerService, heard: Heard) -> None:
    # Whether it may is for the machine to say, which knows more than this node's image.
    for sender, call in (
        (peer(5, "five"), register(5, "five")),
        (peer(2, "new disk"), register(2, "new disk")),
    ):
        await service.on_call(sender, call)
    assert len(heard.commands) == 2
    for call in (register(3, "five"), register(5, "other")):
        with pytest.raises(InvalidRequestError, match="registers itself alone"):
            await service.on_call(peer(5, "five"), call)


async def test_everybody_is_told_who_this_is_and_who_leads(
    service: PeerService, heard: Heard
) -> None:
    me = PeerIdentity(CLUSTER, NodeId(1), directory("one"))
    stranger = peer(7, "seven", None)
    answer = await service.on_call(stranger, Identify())
    assert answer == Identified(me, Term(7), NodeId(2), "node-2:1")
    heard.leader_id = NodeId(1)
    answer = await service.on_call(stranger, Identify())
    assert answer == Identified(me, Term(7), NodeId(1), "node-1:1")
    heard.leader_id = None
    answer = await service.on_call(stranger, Identify())
    assert answer == Identified(me, Term(7), NO_NODE, "")


async def test_a_node_without_a_cluster_only_says_who_it_is() -> None:
    service = PeerService(NodeId(1))
    with pytest.raises(NotLeaderError, match="is starting"):
        await service.on_call(peer(2, "two"), Identify())
    service.introduce(directory("one"), None)
    answer = await service.on_call(peer(2, "two"), Identify())
    assert answer == Identified(
        PeerIdentity(None, NodeId(1), directory("one")), Term(0), NO_NODE, ""
    )
    with pytest.raises(NotLeaderError) as caught:
        await service.on_call(peer(2, "two"), Submit(DeleteTopic("orders")))
    assert caught.value.code is ErrorCode.NOT_CONTROLLER
    assert caught.value.retriable
    say(service, peer(2, "two"), VOTE)


async def test_a_node_that_leaves_takes_nothing_more(service: PeerService, heard: Heard) -> None:
    service.leave()
    with pytest.raises(ShuttingDownError):
        say(service, peer(2, "two"), VOTE)
    assert isinstance(await service.on_call(peer(2, "two"), Identify()), Identified)
    assert heard.messages == []


def test_addresses_come_from_what_is_newest() -> None:
    announced: list[dict[NodeId, str]] = []
    book = AddressBook(
        NodeId(1),
        "me:1",
        parse_peers("1@me:1,2@old-2:1,3@old-3:1"),
        lambda known: announced.append(dict(known)),
    )
    assert announced == [{2: "old-2:1", 3: "old-3:1"}]
    voters = (Voter(NodeId(2), directory("two"), "voter-2:1"), Voter(NodeId(5), directory("5"), ""))
    book.follow(ClusterImage(), voters)
    assert (book.of(NodeId(2)), book.of(NodeId(3)), book.of(NodeId(5))) == (
        "voter-2:1",
        "old-3:1",
        "",
    )
    book.follow(IMAGE, voters)
    assert book.of(NodeId(2)) == "node-2:1"
    book.follow(IMAGE, voters)
    assert len(announced) == 3, "only what changed is announced"
    assert all(NodeId(1) not in known for known in announced)
    assert book.of(NodeId(1)) == "me:1"


def test_what_others_say_of_an_address_counts_least() -> None:
    announced: list[dict[NodeId, str]] = []
    book = AddressBook(
        NodeId(1), "me:1", parse_peers("2@two:1"), lambda known: announced.append(dict(known))
    )
    book.learn(NodeId(2), "elsewhere:1")
    book.learn(NodeId(4), "four:1")
    assert announced == [{2: "two:1"}, {2: "two:1", 4: "four:1"}]
    book.follow(ClusterImage(), ())
    assert book.of(NodeId(4)) == "four:1"
    book.follow(ClusterImage(), (Voter(NodeId(4), directory("four"), "moved:1"),))
    assert book.of(NodeId(4)) == "moved:1"
