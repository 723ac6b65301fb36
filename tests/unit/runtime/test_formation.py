"""Who founds a cluster, who joins one, and who is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from logd_wire.errors import ConfigError, ErrorCode, LogdError, NetworkError

from logd.model.addresses import PeerAddress, parse_peers
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, NodeId, Term
from logd.runtime.formation import Formation, may_pass
from logd.runtime.peers import Identified, PeerAnswer, PeerCall, PeerIdentity
from logd.runtime.waiting import Waiting

PEERS = parse_peers("1@one:1,2@two:1,3@three:1")
NODES = {peer.address: peer.node_id for peer in PEERS}
CLUSTER = ClusterId(b"c" * 16)
OTHER = ClusterId(b"o" * 16)


class Peers:
    """Nodes by address: the cluster that each says it belongs to, or what a call ends with."""

    def __init__(self, **answers: ClusterId | LogdError | None) -> None:
        self.answers: dict[str, ClusterId | LogdError | None] = {
            f"{name}:1": answer for name, answer in answers.items()
        }
        self.leaders: dict[str, tuple[int, int, str]] = {}
        self.ids = dict(NODES)
        self.asked = 0

    async def call(self, address: str, call: PeerCall, *, timeout_ms: int) -> PeerAnswer:
        self.asked += 1
        answer = self.answers.get(address, NetworkError("nobody there"))
        if isinstance(answer, LogdError):
            raise answer
        term, leader_id, leader_address = self.leaders.get(address, (0, NO_NODE, ""))
        identity = PeerIdentity(answer, self.ids[address], DirectoryId(b"d" * 16))
        return Identified(identity, Term(term), NodeId(leader_id), leader_address)


class _Enough(Exception):
    """The node would wait on."""


def formation(
    node: int,
    peers: Peers,
    *,
    later: Callable[[], None] | None = None,
    waiting: Waiting | None = None,
) -> Formation:
    """The node's view; it is told `later` when it waits, and must not wait again."""
    todo = [later] if later is not None else []

    async def sleep_ms(_milliseconds: float) -> None:
        if not todo:
            raise _Enough
        todo.pop()()

    clock: Any = SimpleNamespace(monotonic_ms=lambda: 0, sleep_ms=sleep_ms)
    transport: Any = peers
    return Formation(
        node_id=NodeId(node),
        peers=PEERS,
        transport=transport,
        clock=clock,
        waiting=waiting or Waiting(clock),
    )


async def test_the_lowest_id_founds_when_all_are_there_and_empty() -> None:
    assert await formation(1, Peers(two=None, three=None)).find_cluster(b"") is None


async def test_it_founds_nothing_while_one_is_silent() -> None:
    peers = Peers(two=None)
    with pytest.raises(_Enough):
        await formation(1, peers).find_cluster(b"")

    def arrives() -> None:
        peers.answers["three:1"] = CLUSTER

    found = await formation(1, peers, later=arrives).find_cluster(b"")
    assert found == CLUSTER, "the one that was silent belongs to a cluster"


async def test_the_others_wait_for_the_lowest() -> None:
    peers = Peers(one=None, three=None)
    with pytest.raises(_Enough):
        await formation(2, peers).find_cluster(b"")

    def founded() -> None:
        peers.answers["one:1"] = CLUSTER

    assert await formation(2, peers, later=founded).find_cluster(b"") == CLUSTER


async def test_one_that_knows_a_cluster_is_enough_to_join() -> None:
    assert await formation(3, Peers(two=CLUSTER)).find_cluster(b"") == CLUSTER


async def test_peers_of_two_clusters_are_refused() -> None:
    with pytest.raises(ConfigError, match="different clusters"):
        await formation(3, Peers(one=CLUSTER, two=OTHER)).find_cluster(b"")


async def test_another_cluster_than_configured_is_refused() -> None:
    with pytest.raises(ConfigError, match="configured is"):
        await formation(3, Peers(one=CLUSTER)).find_cluster(OTHER)
    assert await formation(3, Peers(one=CLUSTER)).find_cluster(CLUSTER) == CLUSTER


async def test_a_member_of_another_cluster_is_refused() -> None:
    await formation(3, Peers(one=CLUSTER, two=None)).check_cluster(CLUSTER)
    with pytest.raises(ConfigError, match="this node belongs to cluster"):
        await formation(3, Peers(one=CLUSTER)).check_cluster(OTHER)


async def test_an_address_with_another_node_is_refused() -> None:
    peers = Peers(one=None, two=None)
    peers.ids["two:1"] = NodeId(7)
    with pytest.raises(ConfigError, match="at two:1 there is node 7"):
        await formation(1, peers).find_cluster(b"")


NO_PEER_PORT = NetworkError("what answers there does not know Identify", retriable=False)
REFUSED = LogdError("protocol version 9 is spoken here", code=ErrorCode.UNSUPPORTED_VERSION)


@pytest.mark.parametrize("founder", [1, 3])
async def test_where_all_refuse_the_start_ends_in_words(founder: int) -> None:
    peers = Peers(one=REFUSED, two=NO_PEER_PORT, three=REFUSED)
    with pytest.raises(ConfigError, match="no peer takes this node in") as caught:
        await formation(founder, peers).find_cluster(b"")
    assert "node 2@two:1 says: what answers there does not know Identify" in caught.value.message
    assert "protocol version 9 is spoken here" in caught.value.message
    assert "cluster.peers" in caught.value.hint


@pytest.mark.parametrize("other", [None, NetworkError("nobody there")], ids=["empty", "silent"])
async def test_one_that_refuses_may_be_restarted_with_another_version(
    other: LogdError | None,
) -> None:
    peers, waiting = Peers(one=other, two=REFUSED), still()

    def joined() -> None:
        assert "node 2 refuses" in waiting.words
        assert "version 9" not in waiting.words, "what others say is for the log alone"
        peers.answers["two:1"] = CLUSTER

    found = await formation(3, peers, later=joined, waiting=waiting).find_cluster(b"")
    assert found == CLUSTER
    assert waiting.words == ""


def still() -> Waiting:
    clock: Any = SimpleNamespace(monotonic_ms=lambda: 0)
    return Waiting(clock)


async def test_it_says_who_does_not_answer() -> None:
    waiting = still()
    with pytest.raises(_Enough):
        await formation(2, Peers(one=None), waiting=waiting).find_cluster(b"")
    assert waiting.words == "waiting to form or to find a cluster; no answer from: 3@three:1"


async def test_where_all_are_empty_it_says_who_founds() -> None:
    waiting = still()
    with pytest.raises(_Enough):
        await formation(3, Peers(one=None, two=None), waiting=waiting).find_cluster(b"")
    assert "node 1, which has the lowest id, has founded none" in waiting.words


async def test_the_newest_leader_counts_and_never_the_node_itself() -> None:
    peers = Peers(one=CLUSTER, two=CLUSTER)
    assert await formation(3, peers).find_leader(CLUSTER) is None
    peers.leaders = {"one:1": (4, 1, "one:1"), "two:1": (5, 2, "two:1")}
    found = await formation(3, peers).find_leader(CLUSTER)
    assert found is not None
    assert (found.leader_id, found.leader_address) == (2, "two:1")
    peers.leaders["two:1"] = (6, 3, "three:1")
    found = await formation(3, peers).find_leader(CLUSTER)
    assert found is not None
    assert (found.leader_id, found.leader_address) == (1, "one:1")


async def test_where_no_configured_peer_answers_those_are_asked_that_were_known_last() -> None:
    peers = Peers(four=CLUSTER, five=OTHER, six=CLUSTER)
    peers.ids |= {"four:1": NodeId(4), "five:1": NodeId(5), "six:1": NodeId(9)}
    peers.leaders = {
        "four:1": (4, 4, "four:1"),
        "five:1": (7, 5, "five:1"),
        "six:1": (3, 9, "six:1"),
    }
    known = [
        PeerAddress(NodeId(number), f"{name}:1")
        for number, name in ((4, "four"), (5, "five"), (6, "six"))
    ]
    assert await formation(3, peers).find_leader(CLUSTER) is None
    found = await formation(3, peers).find_leader(CLUSTER, known)
    assert found is not None
    # Five belongs to another cluster by now, and six is another node.
    assert found.leader_address == "four:1"


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (ErrorCode.NOT_CONTROLLER, True),
        (ErrorCode.TIMEOUT, True),
        (ErrorCode.SHUTTING_DOWN, True),
        (ErrorCode.INVALID_REQUEST, False),
        (ErrorCode.CLUSTER_ID_MISMATCH, False),
        (ErrorCode.UNSUPPORTED_VERSION, False),
    ],
)
def test_what_may_pass_is_told_from_what_an_operator_has_to_mend(
    code: ErrorCode, passes: bool
) -> None:
    assert may_pass(LogdError("why", code=code)) is passes
