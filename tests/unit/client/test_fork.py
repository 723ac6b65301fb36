"""After a fork: what the parent used refuses at once, what it did not use works."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable

import pytest
from logd_client import ForkError
from logd_client._transport.grpc import GrpcTransport

from tests.unit.client.facades import Facades
from tests.unit.client.memory_cluster import MemoryCluster

# Python says that forking with threads is dangerous; what happens then is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

N1 = "n1:7171"


def in_child(work: Callable[[], object]) -> tuple[str, str]:
    """Type and text of what `work` returns in a forked child, or of the exception it raises."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcome: object = work()
        except BaseException as error:
            outcome = error
        with os.fdopen(sending, "wb") as pipe:
            pickle.dump((type(outcome).__name__, str(outcome)), pipe)
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        found: tuple[str, str] = pickle.load(pipe)
    os.waitpid(child, 0)
    return found


def test_a_client_used_by_the_parent_refuses_in_the_child_at_once() -> None:
    logd = Facades(MemoryCluster())
    logd.cluster.create("t")
    with logd.Producer(N1) as producer, logd.Consumer("t", bootstrap_servers=N1) as consumer:
        producer.send_and_wait("t", b"0")
        consumer.partitions_for("t")
        for work in (
            lambda: producer.send("t", b"1"),
            lambda: producer.send_many("t", [b"1"]),
            producer.flush,
            lambda: consumer.getone(timeout=1),
        ):
            name, text = in_child(work)
            assert name == "ForkError", text
            assert "post_fork" in text
        # Leaving the `with` in the child must not wait for a thread that is not there.
        assert in_child(consumer.close) == ("NoneType", "None")
        assert producer.send_and_wait("t", b"2").offset == 1


def test_a_client_first_used_in_the_child_works() -> None:
    logd = Facades(MemoryCluster())
    logd.cluster.create("t")
    unused = logd.Producer(N1)
    with logd.Producer(N1) as producer:
        producer.send_and_wait("t", b"0")

        def work() -> int:
            with unused:
                return int(unused.send_and_wait("t", b"1", timeout=10).offset)

        # The child has its own copy of the cluster in memory, with the parent's record.
        assert in_child(work) == ("int", "1")


def test_grpc_used_before_the_fork_is_refused_instead_of_crashing() -> None:
    GrpcTransport()
    name, text = in_child(GrpcTransport)
    assert name == ForkError.__name__
    assert "spawn" in text
