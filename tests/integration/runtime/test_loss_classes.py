"""How others lost acknowledged records in replication, class by class: here they stay.

One scripted scenario for each class of KIP-101, KIP-279, KIP-320, KIP-966, KIP-903 and of the
Redpanda reports, by their number in the list of loss classes (`r01` and so on); what disks do to
logs is in `test_loss_classes_on_disk.py`. Virtual time, real nodes.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import (
    ErrorCode,
    IneligibleReplicaError,
    NotEnoughReplicasError,
    NotLeaderError,
    OffsetNotAvailableError,
    OutOfOrderSequenceError,
)
from logd_wire.limits import PRODUCER_WINDOW_BATCHES

from logd.metadata import ChangePartition, Member
from logd.model.ids import NO_NODE, NodeId
from logd.runtime.outcomes import ProduceOutcome
from logd.runtime.partition import Partition
from logd.testing import MemoryCluster, run
from logd.testing.disk import DiskLatency
from tests.integration.runtime.test_damage import own_end, partition_when, write
from tests.integration.runtime.test_replication import (
    NODES,
    all_alike,
    copy_on,
    created,
    everything,
    isr,
    leading,
    leading_of_others,
    others,
    send,
    until,
    values,
)


async def another_leads_than(cluster: MemoryCluster, node: int) -> int:
    """Wait until the others have another leader than `node`; returns it."""
    await until(lambda: leading_of_others(cluster, node) not in (NO_NODE, node))
    return leading_of_others(cluster, node)


async def acks_1(cluster: MemoryCluster, node: int, *values_: bytes) -> None:
    """Have a leader acknowledge these by itself, whoever else leads."""
    producer = cluster.producer(node=node)
    producer.engine.config = replace(producer.engine.config, acks=1)
    for value in values_:
        await producer.send_and_wait("t", value)
    await producer.engine.close()


# --- logs that part ------------------------------------------------------------------------------


def test_r01_followers_do_not_cut_to_a_high_watermark_that_lags() -> None:
    """KIP-101: acknowledged, but the followers have not heard so when they stop. Nobody else is
    there afterwards; whoever cuts to what it knows to be committed has lost it."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 5)
            behind = [copy_on(cluster, node).high_watermark for node in others(leader)]
            assert max(behind) < 5, "else nothing is proven"
            for node in NODES:
                await cluster.crash(node)
        await asyncio.gather(*(cluster.restart(node) for node in others(leader)))
        await another_leads_than(cluster, leader)
        assert await everything(cluster, 5) == list(range(5))
        await cluster.restart(leader)
        await all_alike(cluster)

    run(scenario, nodes=3)


def test_r02_logs_are_alike_after_fast_double_failovers() -> None:
    """KIP-279: in turn a leader is cut off with records that nobody else has, and another one goes
    on at the same offsets; each comes back to a leader whose epochs it has never heard of."""

    async def scenario(cluster: MemoryCluster) -> None:
        await created(cluster)
        kept = 0
        for turn in range(4):
            leader = leading(cluster)
            async with cluster.producer(node=leader) as producer:
                await send(producer, kept, 3)
            kept += 3
            cluster.isolate(leader)
            await acks_1(cluster, leader, *[b"%d" % (900 + turn)] * (turn + 1))
            second = await another_leads_than(cluster, leader)
            async with cluster.producer(node=second) as producer:
                await send(producer, kept, 1)
            kept += 1
            # The next one falls before the first has come to itself.
            cluster.heal()
            await cluster.crash(second, power_loss=False)
            await another_leads_than(cluster, second)
            await cluster.restart(second)
            await all_alike(cluster)
        assert await everything(cluster, kept) == list(range(kept))

    run(scenario, nodes=3)


def test_r03_nobody_is_served_in_an_epoch_that_is_not_the_leaders() -> None:
    """KIP-320: a reader and a follower that know of the next leadership must notice where they are,
    and what only the last leader had is read by nobody."""

    async def scenario(cluster: MemoryCluster) -> None:
        old = await created(cluster)
        async with cluster.producer(node=old) as producer:
            await send(producer, 0, 5)
        await all_alike(cluster)
        async with cluster.consumer("t", node=old, auto_offset_reset="earliest") as consumer:
            assert await values(consumer, 5) == list(range(5))
            cluster.isolate(old)
            await acks_1(cluster, old, b"900", b"901")
            new = await another_leads_than(cluster, old)
            epoch = copy_on(cluster, new).leader_epoch
            for node in (old, new):
                with pytest.raises(NotLeaderError) as caught:
                    copy_on(cluster, node).check_epoch(epoch if node == old else epoch - 1)
                assert caught.value.code is ErrorCode.FENCED_LEADER_EPOCH
            async with cluster.producer(node=new) as producer:
                await send(producer, 5, 3)
            cluster.heal()
            assert await values(consumer, 3) == [5, 6, 7]
        await all_alike(cluster)

    run(scenario, nodes=3)


# --- who may lead, who may count -----------------------------------------------------------------


def test_r04_the_last_replica_standing_is_waited_for() -> None:
    """KIP-966: alone in sync it acknowledges, then loses its power. The others, which lack that,
    are back first: nobody leads, nothing is cut, and all is there when it is back."""

    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic(
            "t", replication_factor=3, config={"min.insync.replicas": "1"}
        )
        topic_id = bytes.fromhex(topic.id.replace("-", ""))
        last, *rest = topic.partitions[0].replicas
        (watcher, _) = {1, 2, 3, 4, 5}.difference(topic.partitions[0].replicas)
        await write(cluster, watcher, 20)
        for node in rest:
            await cluster.stop(node)
        await partition_when(cluster, watcher, lambda part: part.isr == (last,))
        await write(cluster, watcher, 20)
        await cluster.crash(last)
        for node in rest:
            await cluster.restart(node)
        part = await partition_when(cluster, watcher, lambda part: part.leader is None)
        await asyncio.sleep(10)
        part = await partition_when(cluster, watcher, lambda part: True)
        assert (part.leader, part.eligible) == (None, (last,))
        assert [own_end(cluster, node, topic_id) for node in rest] == [20, 20]
        await cluster.restart(last)
        part = await partition_when(cluster, watcher, lambda part: len(part.isr) == 3)
        assert part.leader == last
        assert {own_end(cluster, node, topic_id) for node in (last, *rest)} == {40}

    run(scenario, nodes=5)


def test_r05_what_a_process_had_before_brings_no_later_one_in_sync() -> None:
    """KIP-903: a position and a proposal of before a replica lost its power arrive afterwards."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        away = others(leader)[0]
        (third,) = {*NODES}.difference([leader, away])
        led = copy_on(cluster, leader)
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 5)
            await all_alike(cluster)
            before = led._node_epochs[NodeId(away)]
            await cluster.crash(away)
            await until(lambda: isr(cluster) == sorted([leader, third]))
            # Back, and kept from copying.
            await cluster.restart(away)
            await until(lambda: led._node_epochs.get(NodeId(away), before) > before)
            command = ChangePartition(
                topic_id=led.id.topic_id,
                partition=0,
                leader=Member(NodeId(leader), led._node_epochs[NodeId(leader)]),
                leader_epoch=led.state.leader_epoch,
                partition_epoch=led.state.partition_epoch,
                isr=tuple(
                    Member(NodeId(node), before if node == away else led._node_epochs[NodeId(node)])
                    for node in NODES
                ),
            )
            with pytest.raises(IneligibleReplicaError):
                await cluster.processes[leader].node.broker.submit(command)
            end = led.view.written_end_offset
            led.follower_at(NodeId(away), before, end + 100)
            assert led._leader is not None
            assert dict(led.followers_behind()).get(NodeId(away), -1) <= end
        await all_alike(cluster)
        assert await everything(cluster, 5) == list(range(5))

    run(scenario, nodes=3)


# --- producers -----------------------------------------------------------------------------------


def batches(count: int) -> list[bytes]:
    """Of one producer, in order, of two records each."""
    return [
        encode_batch(
            [WireRecord(index, 1_000, None, b"%d" % (2 * number + index), ()) for index in (0, 1)],
            producer_id=7,
            producer_epoch=0,
            base_sequence=2 * number,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("power_loss", [False, True])
def test_r08_a_full_window_that_is_sent_again_to_another_leader_is_known_there(
    power_loss: bool,
) -> None:
    """Redpanda 3038, 3039, 5355: a window smaller than what may be in flight, another offset than
    the first answer's, or producers that a new leader has forgotten."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        sent = batches(PRODUCER_WINDOW_BATCHES + 2)
        first = [await appended(cluster, leader, batch) for batch in sent]
        assert [outcome.base_offset for outcome in first] == [2 * n for n in range(len(sent))]
        await cluster.crash(leader, power_loss=power_loss)
        await another_leads_than(cluster, leader)
        await begun(cluster, *others(leader))
        await cluster.restart(leader)
        await all_alike(cluster)
        window = zip(sent[-PRODUCER_WINDOW_BATCHES:], first[-PRODUCER_WINDOW_BATCHES:], strict=True)
        for batch, outcome in window:
            again = await appended(cluster, leading(cluster), batch)
            assert again.duplicate
            assert again.base_offset == outcome.base_offset
        with pytest.raises(OutOfOrderSequenceError):
            await appended(cluster, leading(cluster), batches(len(sent) + 2)[-1])
        assert await everything(cluster, 2 * len(sent)) == list(range(2 * len(sent)))

    run(scenario, nodes=3)


async def appended(cluster: MemoryCluster, node: int, batch: bytes) -> ProduceOutcome:
    return await copy_on(cluster, node).append(batch, leader_epoch=-1, acks=-1)


async def begun(cluster: MemoryCluster, *nodes: int) -> Partition:
    """Wait until one of `nodes` has begun to lead; returns its replica."""
    found: list[Partition] = []

    def leads() -> bool:
        copies = [copy_on(cluster, node) for node in nodes]
        found.extend(each for each in copies if each.leads(each.leader_epoch))
        return bool(found)

    await until(leads)
    return found[0]


# --- new leaders ---------------------------------------------------------------------------------


def test_r09_a_new_leader_names_no_end_before_it_knows_what_is_committed() -> None:
    """Redpanda 5090. Its own log may end behind what was committed, and before; until the others
    have spoken in its leadership it neither tells the latest offset nor acknowledges."""

    async def scenario(cluster: MemoryCluster) -> None:
        # With two of three up nothing can be committed, however early the second is heard.
        leader = await created(cluster, min_insync_replicas="3")
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 5)
            for node in NODES:
                await cluster.crash(node)
        last, *first = others(leader)
        awake = (leader, *first)
        await asyncio.gather(*(cluster.restart(node) for node in awake))
        new = await begun(cluster, *awake)
        assert new.view.written_end_offset == 5 and new.high_watermark < 5
        with pytest.raises(OffsetNotAvailableError):
            new.check_latest()
        with pytest.raises(NotEnoughReplicasError):
            new.append(batches(1)[0], leader_epoch=-1, acks=-1)
        await cluster.restart(last)
        await all_alike(cluster)
        new.check_latest()
        assert await everything(cluster, 5) == list(range(5))

    run(scenario, nodes=3)


def test_r10_nothing_is_acknowledged_that_an_election_may_take_away() -> None:
    """Redpanda 6018: acknowledged where it was written, before it was copied. Here a leader is cut
    off from its followers with batches in flight, and another one is elected."""

    async def scenario(cluster: MemoryCluster) -> None:
        old = await created(cluster)
        async with cluster.producer(node=old) as producer:
            await send(producer, 0, 5)
            await all_alike(cluster)
            led = copy_on(cluster, old)
            cluster.isolate(old)
            flying = [await producer.send("t", b"%d" % number) for number in range(5, 15)]
            await until(lambda: led.view.durable_end_offset > 5)
            assert led.high_watermark == 5
            await another_leads_than(cluster, old)
            assert led.high_watermark == 5, "what it wrote alone is not committed"
            cluster.heal()
            offsets = [(await each).offset for each in flying]
        await all_alike(cluster)
        assert offsets == list(range(5, 15))
        assert await everything(cluster, 15) == list(range(15))

    run(scenario, nodes=3)


def test_r11_a_power_loss_and_a_node_that_is_silent_choose_no_quorum_that_forgot() -> None:
    """NATS 7567: those that answer are chosen by pauses so that the ones that lost their power are
    in the majority."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        kept = 0
        for turn in range(3):
            leader = leading(cluster)
            lost = others(leader)[turn % 2]
            async with cluster.producer(node=leader) as producer:
                await send(producer, kept, 10)
            kept += 10
            await cluster.crash(lost)
            cluster.isolate(leader)
            await cluster.restart(lost)
            await another_leads_than(cluster, leader)
            cluster.heal()
            await all_alike(cluster)
            assert await everything(cluster, kept) == list(range(kept)), turn
            await cluster.admin(node=leader).transfer_leader("t", 0, lost)

    run(scenario, nodes=3, latency=DiskLatency(sync_ms=20.0))
