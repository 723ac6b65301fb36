"""The queue of one peer: its bounds, what is dropped first, and how messages become frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logd.consensus.log_types import Entry, LogPoint
from logd.consensus.messages import AppendRequest, Body, HeartbeatRequest
from logd.model.ids import LogIndex, Term
from logd.rpc.peer_outbox import APART, CONNECTED, FRAME, Outbox, OutboxLimits, size_of

SMALL = OutboxLimits(10, 1_000)


def heartbeat(number: int) -> HeartbeatRequest:
    return HeartbeatRequest(Term(1), LogIndex(0), number)


def append(index: int, *entries: tuple[bytes, ...]) -> AppendRequest:
    made, at = [], index
    for payloads in entries:
        made.append(Entry(LogIndex(at), Term(1), payloads))
        at += len(payloads)
    return AppendRequest(Term(1), LogPoint(Term(1), LogIndex(index)), tuple(made), LogIndex(3))


def taken(outbox: Outbox) -> list[Body]:
    """All that waits, frame after frame."""
    found: list[Body] = []
    while frame := outbox.take():
        found += frame
    return found


def test_what_is_put_comes_out_in_order() -> None:
    outbox = Outbox(CONNECTED)
    bodies: list[Body] = [
        heartbeat(at) if at % 2 else append(at, (b"x" * at,)) for at in range(100)
    ]
    for body in bodies:
        outbox.put(body)
    assert len(outbox) == 100
    assert taken(outbox) == bodies
    assert (len(outbox), outbox.bytes, outbox.dropped) == (0, 0, 0)
    assert outbox.take() == []


def test_the_oldest_entries_go_first() -> None:
    outbox = Outbox(SMALL)
    outbox.put(heartbeat(0))
    for at in range(5):
        outbox.put(append(at, (bytes(300),)))
    assert outbox.bytes <= 1_000
    assert outbox.dropped == 3
    waiting = taken(outbox)
    assert waiting == [heartbeat(0), append(3, (bytes(300),)), append(4, (bytes(300),))]


def test_without_entries_the_oldest_messages_go() -> None:
    outbox = Outbox(SMALL)
    for number in range(25):
        outbox.put(heartbeat(number))
    assert taken(outbox) == [heartbeat(number) for number in range(15, 25)]


def test_appends_without_entries_are_ordinary_messages() -> None:
    outbox = Outbox(OutboxLimits(2, 1_000))
    outbox.put(append(1))
    outbox.put(append(2, (b"x",)))
    outbox.put(append(3))
    assert taken(outbox) == [append(1), append(3)]


def test_one_message_may_always_wait() -> None:
    outbox = Outbox(SMALL)
    outbox.put(append(0, (bytes(5_000),)))
    assert len(outbox) == 1
    outbox.put(heartbeat(1))
    assert taken(outbox) == [heartbeat(1)]


def test_a_smaller_limit_drops_at_once() -> None:
    outbox = Outbox(CONNECTED)
    for number in range(500):
        outbox.put(heartbeat(number))
    outbox.limit(APART)
    assert taken(outbox) == [heartbeat(number) for number in range(484, 500)]


def test_a_frame_ends_when_it_is_large() -> None:
    outbox = Outbox(CONNECTED)
    for at in range(5):
        outbox.put(append(at, (bytes(FRAME.bytes // 2),)))
    assert [len(outbox.take()) for _ in range(4)] == [2, 2, 1, 0]


def test_an_append_with_very_many_entries_becomes_several_that_follow_each_other() -> None:
    outbox = Outbox(CONNECTED)
    body = append(7, *[(b"a", b"b")] * 30_000)
    outbox.put(body)
    parts = taken(outbox)
    assert len(parts) > 3
    entries: list[Entry] = []
    at = body.previous
    for part in parts:
        assert isinstance(part, AppendRequest)
        assert size_of(part).values <= FRAME.values + 16
        assert (part.previous, part.term, part.commit_index) == (at, body.term, body.commit_index)
        entries += part.entries
        at = LogPoint(part.entries[-1].term, part.entries[-1].next_index)
    assert tuple(entries) == body.entries


def test_one_entry_with_very_many_payloads_stays_whole() -> None:
    outbox = Outbox(CONNECTED)
    body = append(7, (b"a",) * 100_000, (b"b",))
    outbox.put(body)
    assert [len(part.entries) for part in taken(outbox) if isinstance(part, AppendRequest)] == [
        1,
        1,
    ]


steps = st.lists(
    st.one_of(
        st.integers(0, 400).map(lambda size: ("append", size)),
        st.just(("heartbeat", 0)),
        st.just(("take", 0)),
        st.sampled_from([("limit", 3), ("limit", 10)]),
    ),
    max_size=60,
)


@given(steps)
def test_an_outbox_holds_no_more_than_its_limits_and_keeps_the_order(
    plan: list[tuple[str, int]],
) -> None:
    limits = SMALL
    outbox, put, out = Outbox(limits), 0, []
    for number, (what, size) in enumerate(plan):
        match what:
            case "append":
                outbox.put(append(number, (bytes(size),)))
                put += 1
            case "heartbeat":
                outbox.put(heartbeat(number))
                put += 1
            case "take":
                out += outbox.take()
            case _:
                limits = OutboxLimits(size, 100 * size)
                outbox.limit(limits)
        assert len(outbox) <= limits.messages_max
        assert outbox.bytes <= limits.bytes_max or len(outbox) == 1
    out += taken(outbox)
    numbers = [each.round if isinstance(each, HeartbeatRequest) else _index(each) for each in out]
    assert numbers == sorted(set(numbers))
    assert len(out) + outbox.dropped == put
    assert outbox.bytes == 0


def _index(body: Body) -> int:
    assert isinstance(body, AppendRequest)
    return body.previous.index
