from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import InvalidConfigError

from logd.model.addresses import PEERS_MAX, PeerAddress, parse_address, parse_peers
from logd.model.ids import NODE_ID_MAX, NodeId
from logd.model.settings import Kind, Setting, format_value

peers = st.lists(
    st.builds(
        PeerAddress,
        st.integers(0, NODE_ID_MAX).map(NodeId),
        st.from_regex(r"\A[a-z0-9.-]{1,20}:[1-9][0-9]{0,3}\Z"),
    ),
    max_size=5,
    unique_by=(lambda peer: peer.node_id, lambda peer: peer.address),
).map(tuple)


@given(peers)
def test_a_list_of_nodes_comes_out_as_it_went_in(expected: tuple[PeerAddress, ...]) -> None:
    text = format_value(expected)
    assert parse_peers(text) == expected
    assert Setting("a.b", Kind.PEERS, "", "").parse(text) == expected


@given(st.text(max_size=40))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        found = parse_peers(text)
    except InvalidConfigError as error:
        assert error.message
    else:
        assert parse_peers(format_value(found)) == found


@pytest.mark.parametrize("text", ["", "  "])
def test_nothing_is_no_address_and_no_node(text: str) -> None:
    assert parse_address(text) == ""
    assert parse_peers(text) == ()


def test_there_are_so_many_at_the_most() -> None:
    text = ",".join(f"{number}@a:{number}" for number in range(1, PEERS_MAX + 2))
    with pytest.raises(InvalidConfigError, match="101 nodes, at most 100"):
        parse_peers(text)
