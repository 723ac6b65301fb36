"""Clients of several nodes, of which some die, lag, are fenced, leave, or know no controller."""

from __future__ import annotations

import pytest
from logd_client._engine.cluster import METADATA_TIMEOUT_MS
from logd_client._engine.producer import ProducerEngine
from logd_client._transport import methods
from logd_client.values import TopicPartition
from logd_wire.errors import BootstrapError, ErrorCode, LogdError, NotLeaderError

from tests.unit.client.harness import World, read, run
from tests.unit.client.memory_cluster import MemoryCluster

ALL = ("n1:7171", "n2:7171", "n3:7171")


async def send(engine: ProducerEngine, topic: str, value: bytes, partition: int = 0) -> None:
    batch, _ = await engine.send(topic, value, partition=partition)
    await engine.wait(batch)


def test_partitions_are_written_and_read_at_their_leaders() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        logs = world.cluster.create("t", partitions=6)
        producer, consumer = world.producer(), world.consumer("t")
        for number in range(6):
            await send(producer, "t", b"%d" % number, number)
        assert [log.values() for log in logs] == [[b"%d" % number] for number in range(6)]
        consumer.fetcher.assign([TopicPartition("t", number) for number in range(6)])
        for number in range(6):
            consumer.fetcher.seek(TopicPartition("t", number), 0)
        found = await read(consumer, 6)
        assert sorted((record.partition, record.value) for record in found) == [
            (number, b"%d" % number) for number in range(6)
        ]
        for method in (methods.PRODUCE, methods.FETCH):
            streams = [
                stream.address for stream in world.cluster.streams if stream.method == method
            ]
            assert sorted(streams) == list(ALL), method
        ends = await consumer.lag([TopicPartition("t", number) for number in range(6)])
        assert set(ends.values()) == {0}
        await producer.close()
        await consumer.close()

    run(main)


@pytest.mark.parametrize("dead", [("n1:7171",), ("n1:7171", "n2:7171"), ("n2:7171", "n3:7171")])
def test_any_bootstrap_address_may_be_dead(dead: tuple[str, ...]) -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        (log,) = world.cluster.create("t")
        alive = next(node for node, address in world.cluster.nodes.items() if address not in dead)
        world.cluster.move_leader("t", 0, alive)
        for address in dead:
            world.cluster.take_down(address)
        engine = world.producer()
        await send(engine, "t", b"0")
        assert log.values() == [b"0"]
        await engine.close()

    run(main)


def test_all_dead_is_said_with_each_address() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        for address in ALL:
            world.cluster.take_down(address, f"{address} is gone")
        engine = world.admin()
        with pytest.raises(BootstrapError) as caught:
            await engine.describe_topics([])
        assert all(f"{address} is gone" in str(caught.value) for address in ALL)
        await engine.close()

    run(main)


def test_nodes_learned_from_one_address_take_its_place_and_those_that_died_come_back() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        (log,) = world.cluster.create("t")
        engine = world.producer()
        await send(engine, "t", b"0")
        for dead, leader in (("n1:7171", 2), ("n2:7171", 3), ("n3:7171", 1)):
            world.cluster.down.clear()
            world.cluster.take_down(dead)
            world.cluster.move_leader("t", 0, leader)
            await send(engine, "t", b"at %d" % leader)
        assert log.values() == [b"0", b"at 2", b"at 3", b"at 1"]
        await engine.close()

    run(main)


def test_a_node_that_answers_nothing_is_passed_over_and_then_asked_last() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        world.cluster.create("t")
        world.cluster.hung.add("n1:7171")
        engine = world.admin()
        begin = world.clock.monotonic_ms()
        await engine.cluster.refresh(["t"])
        assert world.clock.monotonic_ms() - begin < METADATA_TIMEOUT_MS + 100
        begin = world.clock.monotonic_ms()
        for _ in range(5):
            await engine.cluster.refresh(["t"])
        assert world.clock.monotonic_ms() - begin < 100
        await engine.close()

    run(main)


def test_a_node_that_moved_is_found_at_its_new_address() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2))
        (log,) = world.cluster.create("t")
        world.cluster.move_leader("t", 0, 2)
        engine = world.producer()
        await send(engine, "t", b"0")
        world.cluster.break_streams("n2:7171")
        world.cluster.move_node(2, "other:7171")
        await send(engine, "t", b"1")
        assert log.values() == [b"0", b"1"]
        await engine.close()

    run(main)


# ---- nodes that lag --------------------------------------------------------------------------


def test_a_lagging_node_does_not_take_the_leader_back() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        world.cluster.create("t")
        world.cluster.freeze(1)
        world.cluster.move_leader("t", 0, 2)
        world.cluster.move_leader("t", 0, 3)
        engine = world.admin()
        for _ in range(6):
            await engine.cluster.refresh(["t"])
        leader = engine.cluster.metadata.leader("t", 0)
        assert leader is not None and (leader.node_id, leader.epoch) == (3, 2)
        asked = {
            address for address, name, _ in world.cluster.calls if name == methods.GET_METADATA
        }
        assert asked == set(ALL)
        await engine.close()

    run(main)


def test_a_client_that_stands_at_a_lagging_node_learns_from_the_others() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        (log,) = world.cluster.create("t")
        engine = world.producer()
        await send(engine, "t", b"0")
        # Cut off from the others: it leads no more, and does not know who does.
        world.cluster.freeze(1)
        world.cluster.move_leader("t", 0, 3)
        begin = world.clock.monotonic_ms()
        await send(engine, "t", b"1")
        assert log.values() == [b"0", b"1"]
        assert world.clock.monotonic_ms() - begin < 3_000
        await engine.close()

    run(main)


def test_a_lagging_node_does_not_bring_an_earlier_topic_back() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2), servers=ALL[:2])
        world.cluster.create("t", partitions=2)
        world.cluster.move_leader("t", 0, 2)
        world.cluster.freeze(1)
        world.cluster.delete("t")
        (log,) = world.cluster.create("t")
        producer = world.producer()
        await producer.cluster.refresh(["t"])
        await producer.cluster.refresh(["t"])
        await producer.cluster.refresh(["t"])
        await send(producer, "t", b"new")
        assert log.values() == [b"new"]
        assert await producer.partitions_for("t") == {0}
        await producer.close()

    run(main)


def test_a_topic_that_a_lagging_node_does_not_know_yet_is_asked_of_the_controller() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        world.cluster.controller = 3
        world.cluster.freeze(1)
        (log,) = world.cluster.create("fresh")
        world.cluster.move_leader("fresh", 0, 2)
        engine = world.producer()
        await send(engine, "fresh", b"0")
        assert log.values() == [b"0"]
        await engine.close()

    run(main)


# ---- fenced and gone ---------------------------------------------------------------------------


def test_a_fenced_leader_is_waited_for() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        (log,) = world.cluster.create("t")
        producer, consumer = world.producer(), world.consumer("t")
        consumer.fetcher.assign([TopicPartition("t", 0)])
        consumer.fetcher.seek(TopicPartition("t", 0), 0)
        await send(producer, "t", b"0")
        assert [record.value for record in await read(consumer, 1)] == [b"0"]
        world.cluster.fence(1)
        batch, _ = await producer.send("t", b"1")
        await world.clock.sleep_ms(5_000)
        assert not batch.done
        assert producer.cluster.metadata.addresses()[-1] == "n1:7171"
        world.cluster.unfence(1)
        world.cluster.move_leader("t", 0, 1)
        await producer.wait(batch)
        world.cluster.push_all()
        assert [record.value for record in await read(consumer, 1)] == [b"1"]
        assert log.values() == [b"0", b"1"]
        await producer.close()
        await consumer.close()

    run(main)


def test_a_node_that_has_left_is_believed_no_more() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        (log,) = world.cluster.create("t")
        producer, consumer = world.producer(), world.consumer("t")
        consumer.fetcher.assign([TopicPartition("t", 0)])
        consumer.fetcher.seek(TopicPartition("t", 0), 0)
        await send(producer, "t", b"0")
        await read(consumer, 1)
        # It goes on listening, and believes what it believed.
        world.cluster.remove(1)
        world.cluster.move_leader("t", 0, 2)
        await send(producer, "t", b"1")
        assert [record.value for record in await read(consumer, 1)] == [b"1"]
        assert sorted(producer.cluster.metadata.nodes) == [2, 3]
        assert log.values() == [b"0", b"1"]
        await producer.close()
        await consumer.close()

    run(main)


# ---- the controller ----------------------------------------------------------------------------


def test_a_hint_to_the_controller_is_followed_at_once() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        world.cluster.not_controller["n1:7171"] = (3, 7, "n3:7171")
        admin = world.admin()
        begin = world.clock.monotonic_ms()
        await admin.create_topic(
            "t",
            partitions=1,
            replication_factor=1,
            config={},
            exist_ok=False,
            validate_only=False,
        )
        assert world.clock.monotonic_ms() - begin < 20
        assert "t" in world.cluster.topics
        assert (admin.cluster.metadata.controller_id, admin.cluster.metadata.controller_epoch) == (
            3,
            7,
        )
        await admin.close()
        producer = world.producer()
        begin = world.clock.monotonic_ms()
        await send(producer, "t", b"0")
        assert world.clock.monotonic_ms() - begin < 30
        await producer.close()

    run(main)


def test_nodes_that_name_each_other_are_not_asked_without_end() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2), servers=ALL[:2])
        world.cluster.not_controller["n1:7171"] = (2, 5, "n2:7171")
        world.cluster.not_controller["n2:7171"] = (1, 5, "n1:7171")
        admin = world.admin()
        begin = world.clock.monotonic_ms()
        with pytest.raises(NotLeaderError) as caught:
            await admin.delete_topic("t")
        assert caught.value.code is ErrorCode.NOT_CONTROLLER
        assert world.clock.monotonic_ms() - begin > 25_000
        assert world.cluster.called(methods.DELETE_TOPIC) < 100
        # Somebody else has a controller again.
        world.cluster.create("t")
        del world.cluster.not_controller["n2:7171"]
        await admin.delete_topic("t")
        assert "t" not in world.cluster.topics
        await admin.close()

    run(main)


def test_a_producer_id_comes_from_whoever_reaches_the_controller() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        world.cluster.create("t")
        world.cluster.not_controller["n1:7171"] = (-1, -1, "")
        world.cluster.not_controller["n2:7171"] = (-1, -1, "")
        engine = world.producer()
        await send(engine, "t", b"0")
        await engine.close()

    run(main)


def test_a_change_is_not_sent_to_a_node_that_died_unnoticed() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2), servers=ALL[:2])
        world.cluster.create("a")
        world.cluster.create("b")
        admin = world.admin()
        await admin.delete_topic("a")
        world.cluster.take_down("n1:7171")
        await admin.delete_topic("b")
        assert world.cluster.topics == {}
        await admin.close()

    run(main)


def test_another_cluster_at_one_address_does_not_end_the_search() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2), servers=ALL[:2])
        world.cluster.create("t")
        admin = world.admin()
        await admin.cluster.refresh(["t"])
        world.cluster.foreign.add("n1:7171")
        await admin.delete_topic("t")
        assert world.cluster.calls[-1][0] == "n2:7171"
        world.cluster.foreign.add("n2:7171")
        with pytest.raises(LogdError) as caught:
            await admin.delete_topic("t")
        assert caught.value.code is ErrorCode.CLUSTER_ID_MISMATCH
        await admin.close()

    run(main)


# ---- what is spread over nodes -----------------------------------------------------------------


def test_a_topic_is_described_with_the_offsets_of_all_its_leaders() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        world.cluster.create("t", partitions=3)
        producer, admin = world.producer(), world.admin()
        for number in range(3):
            for _ in range(number + 1):
                await send(producer, "t", b"x", number)
        (topic,) = await admin.describe_topics(["t"])
        assert [part.end_offset for part in topic.partitions] == [1, 2, 3]
        world.cluster.take_down("n3:7171")
        (topic,) = await admin.describe_topics(["t"])
        assert [part.end_offset for part in topic.partitions] == [1, 2, -1]
        await producer.close()
        await admin.close()

    run(main)


def test_records_are_removed_at_the_leaders() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        logs = world.cluster.create("t", partitions=3)
        producer, admin = world.producer(), world.admin()
        for number in range(3):
            await send(producer, "t", b"x", number)
        assert await admin.delete_records("t", {2: -1, 0: 0}) == {2: 1, 0: 0}
        assert [log.start for log in logs] == [0, 0, 1]
        world.cluster.fence(2)
        with pytest.raises(NotLeaderError):
            await admin.delete_records("t", {0: -1, 1: -1})
        assert logs[0].start == 1
        await producer.close()
        await admin.close()

    run(main)
