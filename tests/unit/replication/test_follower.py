"""What a follower does with what its leader answers."""

from __future__ import annotations

import pytest

from logd.model.ids import LeaderEpoch
from logd.replication import (
    Alarm,
    AppendChunk,
    Appended,
    AppendFailed,
    Begin,
    Connected,
    Disconnected,
    Diverges,
    FollowerEvent,
    HighWatermarkMoved,
    PartitionFollower,
    RestartAt,
    Restarted,
    RetryAt,
    SendPosition,
    Tick,
    TrimTo,
    Truncated,
    TruncateTo,
)
from logd.replication.follower import RETRY_MS
from tests.unit.replication.rig import chunk, epochs


def follower(*, high_watermark: int = 5, start_offset: int = 0) -> PartitionFollower:
    """Its log: epoch 1 up to 6, epoch 2 up to 10."""
    return PartitionFollower(
        LeaderEpoch(4),
        end_offset=10,
        last_epoch=2,
        high_watermark=high_watermark,
        start_offset=start_offset,
        end_offset_for=epochs({1: 0, 2: 6}, 10),
    )


def asked(*, high_watermark: int = 5, start_offset: int = 0) -> PartitionFollower:
    machine = follower(high_watermark=high_watermark, start_offset=start_offset)
    machine.handle(Begin(0))
    assert machine.handle(Connected()) == [SendPosition(10, 2)]
    return machine


def appending(*, high_watermark: int = 5) -> PartitionFollower:
    machine = asked()
    effects = machine.handle(chunk(size_bytes=100, high_watermark=high_watermark))
    assert effects[-1] == AppendChunk()
    return machine


# --- asking --------------------------------------------------------------------------------------


def test_it_asks_once_it_has_begun_and_is_connected() -> None:
    machine = follower()
    assert machine.handle(Connected()) == []
    assert machine.handle(Begin(0)) == [SendPosition(10, 2)]
    assert machine.handle(Begin(1)) == []


def test_it_asks_again_when_the_stream_is_back() -> None:
    machine = asked()
    assert machine.handle(Disconnected()) == []
    assert machine.handle(chunk(size_bytes=100)) == []
    assert machine.handle(Connected()) == [SendPosition(10, 2)]


def test_what_is_being_written_is_told_when_it_is_durable() -> None:
    machine = appending()
    assert machine.handle(Disconnected()) == []
    assert machine.handle(Connected()) == []
    assert machine.handle(Appended(14, 4)) == [SendPosition(14, 4)]


def test_what_became_durable_without_a_stream_is_told_later() -> None:
    machine = appending()
    machine.handle(Disconnected())
    assert machine.handle(Appended(14, 4)) == []
    assert machine.handle(Connected()) == [SendPosition(14, 4)]


def test_a_leader_that_cannot_serve_is_asked_again_later() -> None:
    machine = asked()
    assert machine.handle(chunk(refused=True, now_ms=50)) == [RetryAt(50 + RETRY_MS)]
    assert machine.handle(Tick(49 + RETRY_MS)) == []
    assert machine.handle(Tick(50 + RETRY_MS)) == [SendPosition(10, 2)]
    assert machine.handle(Tick(51 + RETRY_MS)) == []


def test_waiting_goes_on_without_a_stream() -> None:
    machine = asked()
    machine.handle(chunk(refused=True))
    machine.handle(Disconnected())
    assert machine.handle(Tick(RETRY_MS)) == []
    assert machine.handle(Connected()) == [SendPosition(10, 2)]


def test_an_answer_without_records_is_followed_by_the_next_position() -> None:
    assert asked().handle(chunk(high_watermark=5)) == [SendPosition(10, 2)]


# --- appending -----------------------------------------------------------------------------------


def test_records_are_appended_and_acknowledged_when_they_are_durable() -> None:
    machine = asked()
    assert machine.handle(chunk(size_bytes=100)) == [AppendChunk()]
    assert machine.handle(Appended(14, 4)) == [SendPosition(14, 4)]


def test_one_append_at_a_time() -> None:
    machine = appending()
    assert machine.handle(chunk(size_bytes=100)) == []
    assert machine.handle(chunk(diverging=Diverges(1, 6))) == []


@pytest.mark.parametrize("leader_epoch", [3, 5])
def test_another_leader_is_not_listened_to(leader_epoch: int) -> None:
    machine = asked()
    assert machine.handle(chunk(size_bytes=9, high_watermark=9, leader_epoch=leader_epoch)) == []
    assert machine.high_watermark == 5


def test_a_failed_append_is_tried_again() -> None:
    machine = appending()
    assert machine.handle(AppendFailed(70)) == [RetryAt(70 + RETRY_MS)]
    assert machine.handle(Tick(70 + RETRY_MS)) == [SendPosition(10, 2)]


@pytest.mark.parametrize(
    "event", [Appended(14, 4), Truncated(6, 1), Restarted(20), AppendFailed(0)]
)
def test_what_was_not_asked_for_changes_nothing(event: FollowerEvent) -> None:
    machine = asked()
    assert machine.handle(event) == []
    machine.handle(Disconnected())
    assert machine.handle(Connected()) == [SendPosition(10, 2)]


# --- what is committed ---------------------------------------------------------------------------


def test_it_is_what_the_leader_says_and_is_durable_here() -> None:
    machine = asked()
    effects = machine.handle(chunk(high_watermark=12, size_bytes=100))
    assert effects == [HighWatermarkMoved(10), AppendChunk()]
    assert machine.handle(Appended(11, 4)) == [HighWatermarkMoved(11), SendPosition(11, 4)]


def test_it_does_not_go_back() -> None:
    machine = asked()
    assert machine.handle(chunk(high_watermark=3)) == [SendPosition(10, 2)]
    assert machine.high_watermark == 5


def test_it_lies_within_the_log() -> None:
    assert follower(high_watermark=99).high_watermark == 10
    assert follower(high_watermark=0, start_offset=4).high_watermark == 4


def test_the_start_follows_the_leader_up_to_what_is_committed() -> None:
    machine = asked()
    assert machine.handle(chunk(start=7, high_watermark=6)) == [
        HighWatermarkMoved(6),
        TrimTo(6),
        SendPosition(10, 2),
    ]
    assert machine.handle(chunk(start=3, high_watermark=6)) == [SendPosition(10, 2)]
    assert machine.handle(chunk(start=7, high_watermark=9))[1] == TrimTo(7)


# --- cutting -------------------------------------------------------------------------------------


def test_a_log_that_diverges_is_cut_by_its_epochs() -> None:
    machine = asked()
    assert machine.handle(chunk(diverging=Diverges(1, 6))) == [TruncateTo(6)]
    assert machine.handle(Truncated(6, 1)) == [SendPosition(6, 1)]


def test_nothing_is_cut_for_the_high_watermark() -> None:
    machine = asked()
    assert machine.handle(chunk(diverging=Diverges(2, 8))) == [TruncateTo(8)]
    assert machine.handle(Truncated(8, 2)) == [SendPosition(8, 2)]


def test_a_cut_that_failed_is_tried_again() -> None:
    machine = asked()
    machine.handle(chunk(diverging=Diverges(1, 6)))
    assert machine.handle(AppendFailed(70)) == [RetryAt(70 + RETRY_MS)]
    assert machine.handle(Tick(70 + RETRY_MS)) == [SendPosition(10, 2)]


def test_a_cut_below_what_is_committed_is_an_alarm() -> None:
    machine = asked(high_watermark=7)
    (alarm,) = machine.handle(chunk(diverging=Diverges(1, 6)))
    assert isinstance(alarm, Alarm)
    assert "cut to offset 6" in alarm.text
    assert "up to offset 7" in alarm.text
    for event in (Disconnected(), Connected(), Begin(1), Tick(9_999), chunk(size_bytes=9)):
        assert machine.handle(event) == []


def test_a_cut_that_took_more_is_an_alarm() -> None:
    machine = asked()
    assert machine.handle(chunk(diverging=Diverges(1, 6))) == [TruncateTo(6)]
    (alarm,) = machine.handle(Truncated(4, 1))
    assert isinstance(alarm, Alarm)


def test_an_empty_follower_beyond_the_leader_is_an_alarm() -> None:
    machine = asked(start_offset=10)
    (alarm,) = machine.handle(chunk(diverging=Diverges(-1, 8)))
    assert isinstance(alarm, Alarm)


# --- restarting ----------------------------------------------------------------------------------


def test_who_is_below_the_start_begins_there() -> None:
    machine = asked()
    answer = chunk(too_low=True, start=20, high_watermark=30)
    assert machine.handle(answer) == [RestartAt(20)]
    assert machine.handle(Restarted(20)) == [HighWatermarkMoved(20), SendPosition(20, -1)]


def test_nothing_is_forgotten_that_still_fits() -> None:
    machine = asked()
    assert machine.handle(chunk(too_low=True, start=10)) == [RetryAt(RETRY_MS)]


# --- what the leader has forgotten ---------------------------------------------------------------


def test_who_may_miss_deletes_starts_over() -> None:
    machine = asked(high_watermark=8)
    answer = chunk(size_bytes=9, forgotten=11, start=3, high_watermark=20)
    assert machine.handle(answer) == [HighWatermarkMoved(3), RestartAt(3)]
    assert machine.handle(Restarted(3)) == [SendPosition(3, -1)]
    assert machine.handle(answer) == [AppendChunk(11)], "and says what it misses from now on"
    assert machine.handle(Appended(6, 2)) == [HighWatermarkMoved(6), SendPosition(6, 2)]
    assert machine.handle(answer) == [AppendChunk(11)], "copied as a whole, it goes on"


def test_who_has_what_was_forgotten_goes_on() -> None:
    machine = asked(high_watermark=10)
    answer = chunk(size_bytes=9, forgotten=10, high_watermark=10)
    assert machine.handle(answer) == [AppendChunk()]


def test_what_is_forgotten_while_a_copy_is_made_makes_it_start_over() -> None:
    machine = asked(start_offset=10, high_watermark=10)
    assert machine.handle(chunk(size_bytes=9, forgotten=20)) == [AppendChunk(20)]
    assert machine.handle(Appended(14, 2)) == [SendPosition(14, 2)]
    answer = chunk(size_bytes=9, forgotten=21)
    assert machine.handle(answer) == [HighWatermarkMoved(10), RestartAt(10)]


def test_a_log_does_not_start_over_below_its_own_start() -> None:
    machine = asked(start_offset=4, high_watermark=8)
    answer = chunk(size_bytes=9, forgotten=11, start=2)
    assert machine.handle(answer) == [HighWatermarkMoved(4), RestartAt(4)]


def test_news_without_records_say_nothing_of_what_is_missing() -> None:
    assert asked().handle(chunk(forgotten=11)) == [SendPosition(10, 2)]
