"""A partition with several replicas: what its leader promises, and what it takes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from logd_wire.errors import (
    DataLossError,
    ErrorCode,
    NotEnoughReplicasError,
    NotLeaderError,
    OffsetNotAvailableError,
    OutcomeUnknownError,
)

from logd.model.ids import NO_NODE, NodeId
from tests.sim.rot import corrupt
from tests.support.loops import settle
from tests.support.partitions import LAG_MS, ReplicatedBench, led_by

Make = Callable[..., ReplicatedBench]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[ReplicatedBench] = []

    def making(config: dict[str, str] | None = None, high_watermark: int = 0) -> ReplicatedBench:
        made.append(ReplicatedBench(config, high_watermark))
        return made[-1]

    yield making
    for each in made:
        await each.spawn.cancel_all()
        assert each.fatal == []


# --- acknowledgements ----------------------------------------------------------------------------


async def test_acks_all_waits_for_the_slowest_in_sync(make: Make) -> None:
    bench = make()
    await bench.lead()
    answer = bench.produce(3)
    await bench.synced()
    bench.followers_at(3, 2)
    assert not answer.done() and bench.partition.high_watermark == 0
    bench.followers_at(2, 3)
    assert not answer.done() and bench.partition.high_watermark == 2
    bench.followers_at(3, 3)
    outcome = await answer
    assert (outcome.base_offset, outcome.replicas, outcome.synced) == (0, 3, True)
    assert (outcome.leader_epoch, bench.partition.high_watermark) == (4, 3)


async def test_followers_may_be_faster_than_the_own_disk(make: Make) -> None:
    bench = make()
    await bench.lead()
    answer = bench.produce()
    await settle()
    bench.followers_at(1, 2, 3)
    assert bench.partition.view.written_end_offset == 1
    assert not answer.done() and bench.partition.high_watermark == 0
    await bench.synced()
    assert (await answer).base_offset == 0
    assert bench.partition.high_watermark == 1


async def test_acks_of_the_leader_wait_for_no_follower(make: Make) -> None:
    bench = make()
    await bench.lead()
    answer = bench.produce(acks=1)
    await settle()
    assert not answer.done(), "not before the own sync"
    await bench.synced()
    assert (await answer).replicas == 1
    assert bench.partition.high_watermark == 0, "not committed by that"


@pytest.mark.parametrize("flush", ["none", "interval:1h"])
async def test_without_a_sync_written_ends_count(make: Make, flush: str) -> None:
    bench = make({"flush": flush})
    await bench.lead()
    answer = bench.produce()
    await settle()
    assert not answer.done()
    bench.followers_at(1, 2, 3)
    outcome = await answer
    assert not outcome.synced
    assert bench.partition.view.durable_end_offset == 0


# --- too few replicas ----------------------------------------------------------------------------


async def test_too_few_in_sync_is_refused_before_anything_is_appended(make: Make) -> None:
    bench = make()
    await bench.lead(led_by(1, isr=(1,)))
    with pytest.raises(NotEnoughReplicasError, match="nothing was appended") as caught:
        bench.produce()
    assert caught.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
    await bench.synced()
    assert bench.partition.view.written_end_offset == 0
    answer = bench.produce(acks=1)
    await bench.synced()
    assert (await answer).base_offset == 0
    assert bench.partition.high_watermark == 0, "alone it commits nothing"


async def test_what_waits_is_told_when_too_few_remain(make: Make) -> None:
    bench = make()
    await bench.lead()
    answer = bench.produce()
    await bench.synced()
    bench.follow(led_by(1, isr=(1,), partition_epoch=1))
    with pytest.raises(NotEnoughReplicasError, match="was appended, but") as caught:
        await answer
    assert caught.value.code is ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
    assert bench.partition.high_watermark == 0


async def test_too_few_remain_while_the_batch_is_on_its_way_to_the_disk(make: Make) -> None:
    bench = make()
    await bench.lead()
    answer = bench.produce()
    await settle()
    bench.follow(led_by(1, isr=(1,), partition_epoch=1))
    await bench.synced()
    with pytest.raises(NotEnoughReplicasError) as caught:
        await answer
    assert caught.value.code is ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND


async def test_one_that_left_is_not_waited_for_once_that_is_committed(make: Make) -> None:
    bench = make()
    await bench.lead()
    answer = bench.produce()
    await bench.synced()
    bench.followers_at(1, 2)
    bench.now_ms += LAG_MS
    bench.partition.tick(bench.now_ms)
    [proposal] = bench.proposals
    assert proposal.isr == ((1, 11), (2, 12))
    assert not answer.done(), "it counts until then"
    bench.follow(led_by(1, isr=(1, 2), partition_epoch=1))
    assert (await answer).base_offset == 0


async def test_one_that_caught_up_is_proposed_and_counts_at_once(make: Make) -> None:
    bench = make()
    await bench.lead(led_by(1, isr=(1, 2)))
    first = bench.produce()
    await bench.synced()
    bench.followers_at(1, 2)
    await first
    bench.followers_at(1, 3)
    [proposal] = bench.proposals
    assert proposal.isr == ((1, 11), (2, 12), (3, 13))
    second = bench.produce()
    await bench.synced()
    bench.followers_at(2, 2)
    assert not second.done(), "node 3 may be in sync by now"
    bench.partition.proposal_answered(proposal.partition_epoch, refused=True)
    assert (await second).base_offset == 1


# --- leaderships ---------------------------------------------------------------------------------


async def test_what_waits_fails_when_another_node_leads(make: Make) -> None:
    bench = make()
    await bench.lead()
    answer = bench.produce()
    await bench.synced()
    bench.follow(led_by(2, epoch=5, partition_epoch=1))
    # It is in this log: a producer that took it for refused would use its sequence again.
    with pytest.raises(OutcomeUnknownError, match="appended"):
        await answer
    with pytest.raises(NotLeaderError) as caught:
        bench.produce()
    assert (caught.value.leader_id, caught.value.leader_epoch) == (2, 5)
    with pytest.raises(NotLeaderError):
        bench.partition.check_readable()
    bench.followers_at(1, 2, 3)
    assert bench.partition.high_watermark == 0, "what followers say of before says nothing"


async def test_who_waits_is_sent_away_when_the_node_is_out_of_service(make: Make) -> None:
    bench = make()
    await bench.lead()
    heard: list[int] = []
    bench.partition.listen(lambda: heard.append(0))
    answer = bench.produce()
    await bench.synced()
    heard.clear()
    bench.partition.tick(0)
    assert not answer.done() and not heard
    bench.serving = False
    bench.partition.tick(0)
    with pytest.raises(OutcomeUnknownError, match="no contact to the cluster"):
        await answer
    assert heard, "readers look whether they may read here"
    alone = make({"min.insync.replicas": "1"})
    await alone.lead(led_by(1, replicas=(1,), isr=(1,)))
    alone.serving = False
    kept = alone.produce()
    await settle()
    alone.partition.tick(0)
    await alone.synced()
    assert (await kept).base_offset == 0, "nobody else can lead the only copy"


async def test_what_is_on_its_way_to_the_disk_fails_too(make: Make) -> None:
    """Also where this node leads again by then: the batch may have been cut in between."""
    for epoch_led in (None, 6):
        bench = make()
        await bench.lead()
        answers = [bench.produce(acks=acks) for acks in (-1, 1)]
        await settle()
        bench.follow(led_by(2, epoch=5, partition_epoch=1))
        if epoch_led is not None:
            bench.follow(led_by(1, epoch=epoch_led, partition_epoch=2))
        await bench.synced()
        for answer in answers:
            with pytest.raises(OutcomeUnknownError):
                await answer


async def test_nothing_is_led_before_its_epoch_is_in_the_log(make: Make) -> None:
    bench = make()
    await bench.lead(led_by(1, epoch=3))
    before = bench.produce(acks=1)
    bench.follow(led_by(1, epoch=4, partition_epoch=1))
    assert not bench.partition.leads(4), "the writer has not come to it"
    after = bench.produce(acks=1)
    await bench.synced()
    with pytest.raises(OutcomeUnknownError):
        await before
    assert (await after).base_offset == 1
    assert bench.partition.leads(4) and not bench.partition.leads(3)
    view = bench.partition.view
    assert (view.epoch_at(0), view.epoch_at(1)) == (3, 4)
    assert view.end_offset_for_epoch(3) == (3, 1)


async def test_leadership_begins_later_when_the_writer_could_not_do_it(make: Make) -> None:
    bench = make()
    bench.files.capacity = bench.files.capacity - bench.files.free_bytes()
    bench.follow(led_by(1))
    await bench.synced()
    assert not bench.partition.leads(4)
    with pytest.raises(OffsetNotAvailableError):
        bench.partition.check_latest()
    bench.files.capacity = 1 << 40
    bench.partition.tick(0)
    await bench.synced()
    assert bench.partition.leads(4)


async def test_the_end_is_not_named_before_it_is_known(make: Make) -> None:
    bench = make()
    await bench.lead(led_by(1, epoch=3))
    bench.produce(2, acks=1)
    await bench.synced()
    assert bench.partition.high_watermark == 0
    await bench.lead(led_by(1, epoch=4, partition_epoch=1))
    # Those before may have committed both records.
    with pytest.raises(OffsetNotAvailableError) as caught:
        bench.partition.check_latest()
    assert caught.value.retriable
    bench.followers_at(2, 2)
    with pytest.raises(OffsetNotAvailableError):
        bench.partition.check_latest()
    bench.followers_at(2, 3)
    bench.partition.check_latest()


async def test_a_high_watermark_from_before_is_no_more_than_the_log(make: Make) -> None:
    bench = make(high_watermark=50)
    await bench.lead()
    assert bench.partition.high_watermark == 0
    bench.partition.check_latest()


async def test_the_high_watermark_never_goes_back(make: Make) -> None:
    bench = make()
    await bench.lead()
    bench.produce(5)
    await bench.synced()
    bench.followers_at(5, 2, 3)
    assert bench.partition.high_watermark == 5
    bench.followers_at(1, 2)
    await bench.lead(led_by(1, epoch=5, partition_epoch=1))
    bench.followers_at(3, 2, 3)
    assert bench.partition.high_watermark == 5


async def test_a_client_of_another_leadership_is_refused(make: Make) -> None:
    bench = make()
    partition = await bench.lead()
    for epoch in (3, 5):
        with pytest.raises(NotLeaderError) as caught:
            partition.check_epoch(epoch)
        assert caught.value.code is ErrorCode.FENCED_LEADER_EPOCH
        assert caught.value.leader_epoch == 4
    partition.check_epoch(4)


async def test_where_nobody_leads_nobody_reads_but_from_the_only_copy(make: Make) -> None:
    bench = make()
    bench.follow(led_by(NO_NODE, epoch=5))
    with pytest.raises(NotLeaderError, match="by nobody at the moment"):
        bench.partition.check_readable()
    alone = make()
    alone.follow(led_by(NO_NODE, epoch=5, replicas=(1,), isr=(1,)))
    alone.partition.check_readable()


# --- what may be removed -------------------------------------------------------------------------


async def test_only_a_leader_moves_the_start_and_only_below_what_is_committed(
    make: Make,
) -> None:
    bench = make()
    partition = await bench.lead()
    bench.produce(4)
    await bench.synced()
    assert partition.removal_limit == 0
    bench.followers_at(3, 2, 3)
    assert partition.removal_limit == 3
    bench.follow(led_by(2, epoch=5, partition_epoch=1))
    assert partition.removal_limit == 0


async def test_what_every_replica_has_is_known_or_told(make: Make) -> None:
    bench = make()
    partition = await bench.lead(led_by(1, isr=(1, 2)))
    bench.produce(4)
    await bench.synced()
    bench.followers_at(3, 2)
    assert (partition.high_watermark, partition.replicated_end) == (3, 0)
    bench.followers_at(2, 3)
    assert partition.replicated_end == 2
    bench.followers_at(4, 3)
    assert partition.replicated_end == 3
    bench.follow(led_by(2, epoch=5, partition_epoch=1))
    assert partition.replicated_end == 0
    partition.learn_replicated_end(2)
    assert partition.replicated_end == 2
    partition.learn_replicated_end(9)
    assert partition.replicated_end == 3, "no more than is committed here"
    bench.follow(led_by(2, epoch=5, partition_epoch=2, replicas=(1, 2, 3, 4)))
    assert partition.replicated_end == 0, "a replica that came new has nothing"


async def test_listeners_hear_of_what_is_committed_and_of_leaderships(make: Make) -> None:
    bench = make()
    partition = await bench.lead()
    heard: list[tuple[int, int]] = []

    def listener() -> None:
        heard.append((partition.leader_epoch, partition.high_watermark))

    partition.listen(listener)
    bench.produce()
    await bench.synced()
    bench.followers_at(1, 2, 3)
    assert heard[-1] == (4, 1)
    bench.follow(led_by(2, epoch=5, partition_epoch=1))
    assert heard[-1] == (5, 1)
    partition.unlisten(listener)
    bench.follow(led_by(3, epoch=6, partition_epoch=2))
    assert heard[-1] == (5, 1)


async def test_a_follower_that_is_gone_keeps_what_it_had(make: Make) -> None:
    bench = make()
    await bench.lead()
    answer = bench.produce()
    await bench.synced()
    bench.followers_at(1, 2)
    bench.partition.follower_gone(NodeId(2))
    bench.followers_at(1, 3)
    assert (await answer).replicas == 3


# --- damage under a leader -----------------------------------------------------------------------


async def damaged_leader(bench: ReplicatedBench) -> DataLossError:
    """Node 1 leads, and a reader has met a batch that went bad."""
    partition = await bench.lead()
    for _ in range(3):
        bench.produce()
    await bench.synced()
    corrupt(bench.files, "log/00000000000000000000.log", 80)
    with pytest.raises(DataLossError) as caught:
        for offset in range(3):
            partition.view.read(offset, bytes_max=1 << 20, limit_offset=3)
    return caught.value


async def test_a_leader_with_damage_gives_way_to_a_replica_that_has_what_it_lacks(
    make: Make,
) -> None:
    bench = make()
    error = await damaged_leader(bench)
    told = bench.partition.read_failed(error)
    assert isinstance(told, NotLeaderError) and told.retriable
    assert bench.damage_reports == [True]
    other = OffsetNotAvailableError("not yet")
    assert bench.partition.read_failed(other) is other


async def test_damage_that_nobody_has_read_here_is_looked_for_now_and_then(make: Make) -> None:
    """A follower met it, or the cleaner."""
    bench = make()
    await damaged_leader(bench)
    bench.partition.tick(bench.now_ms)
    assert bench.damage_reports == [True]


@pytest.mark.parametrize("isr", [(1,), (1, 9)], ids=["alone", "the other is out of service"])
async def test_a_leader_with_damage_leads_on_where_nobody_else_is_in_sync(
    make: Make, isr: tuple[int, ...]
) -> None:
    bench = make({"min.insync.replicas": "1"})
    error = await damaged_leader(bench)
    bench.follow(led_by(1, isr=isr, partition_epoch=1, replicas=(1, 2, 9)))
    assert bench.partition.read_failed(error) is error
    bench.partition.tick(bench.now_ms)
    assert bench.damage_reports == []
