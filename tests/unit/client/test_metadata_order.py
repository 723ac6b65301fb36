"""What the client believes never gets older, whatever lagging nodes and late hints say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logd_client._core import metadata
from logd_client.values import NodeInfo
from logd_wire.errors import UnknownTopicError


class Moment(NamedTuple):
    """The cluster at one index of the metadata log. `topic_id` empty: there is no topic."""

    topic_id: bytes
    epoch: int
    leader: int
    port: int
    term: int


@dataclass(frozen=True)
class Heard:
    """An answer of a node that has followed so far; or only a hint about what it knew."""

    index: int
    hint: bool


START = Moment(b"", 0, 1, 7000, 1)


def history_of(steps: list[str]) -> list[Moment]:
    """The moments by index - 1; each step changes one thing."""
    moments = [START]
    made = 0
    for number, step in enumerate(steps):
        last = moments[-1]
        match step:
            case "elect" if last.topic_id:
                moments.append(last._replace(epoch=last.epoch + 1, leader=number % 3 + 1))
            case "recreate":
                made += 1
                topic_id = made.to_bytes(16, "big")
                moments.append(last._replace(topic_id=topic_id, epoch=0, leader=number % 3 + 1))
            case "delete":
                moments.append(last._replace(topic_id=b"", epoch=0))
            case _:
                moments.append(last._replace(port=last.port + 1, term=last.term + 1))
    return moments


def check(module: Any, steps: list[str], order: list[Heard]) -> None:
    """Tell the cache of `module` all that is heard, and compare what it believes each time."""
    history = history_of(steps)
    leaders = {
        (moment.topic_id, moment.epoch): moment.leader for moment in history if moment.topic_id
    }
    cache = module.MetadataCache()
    newest, epoch, topic_id = 0, -1, b""
    for heard in order:
        moment = history[heard.index % len(history)]
        index = heard.index % len(history) + 1
        if heard.hint:
            tell_hint(cache, moment)
            if moment.topic_id and moment.topic_id == topic_id:
                epoch = max(epoch, moment.epoch)
        else:
            cache.update(answer(module, moment, index))
            if index > newest:
                newest = index
                epoch = moment.epoch if moment.topic_id != topic_id else max(epoch, moment.epoch)
                topic_id = moment.topic_id
        if newest:
            compare(cache, history[newest - 1], topic_id, epoch, leaders)


def answer(module: Any, moment: Moment, index: int) -> Any:
    nodes = tuple(NodeInfo(number, f"n{number}:{moment.port}") for number in (1, 2, 3))
    topic = module.TopicState("t", moment.topic_id, {})
    if moment.topic_id:
        topic.partitions[0] = module.PartitionState(moment.leader, moment.epoch)
    else:
        topic.error = UnknownTopicError("no topic")
    return module.Snapshot("c", moment.term % 3, nodes, (topic,), index, moment.term)


def tell_hint(cache: Any, moment: Moment) -> None:
    if moment.topic_id:
        cache.apply_hint(
            "t",
            moment.topic_id,
            0,
            leader_id=moment.leader,
            leader_epoch=moment.epoch,
            address=f"n{moment.leader}:{moment.port}",
        )


def compare(
    cache: Any,
    newest: Moment,
    topic_id: bytes,
    epoch: int,
    leaders: dict[tuple[bytes, int], int],
) -> None:
    assert cache.nodes[1].address == f"n1:{newest.port}", "the nodes are older than they were"
    assert cache.controller_epoch >= newest.term, "the controller is older than it was"
    assert cache.controller_id == cache.controller_epoch % 3
    state = cache.topic("t")
    if not topic_id:
        assert state.error is not None, "a topic that is gone came back"
        return
    assert state.error is None, "a topic that is there was forgotten"
    assert state.topic_id == topic_id, "an earlier topic of that name came back"
    found = state.partitions[0]
    assert found.leader_epoch == epoch, "the leader is older than it was"
    assert found.leader_id == leaders[topic_id, epoch], "a leader of another topic id"


STEPS = st.lists(
    st.sampled_from(["elect", "elect", "elect", "recreate", "delete", "move"]), max_size=12
).map(lambda steps: ["recreate", *steps])
ORDER = st.lists(st.builds(Heard, st.integers(0, 13), st.booleans()), min_size=1, max_size=30)


@given(STEPS, ORDER)
def test_belief_never_gets_older(steps: list[str], order: list[Heard]) -> None:
    check(metadata, steps, order)


# ---- planted bugs ------------------------------------------------------------------------------

PLANTED = {
    "older answers are believed": (
        "return 0 < index < known",
        "return False",
    ),
    "the nodes of an older answer are believed": (
        "            self.index = snapshot.index\n",
        "",
    ),
    "a topic does not remember how new it is": (
        "        heard.index = index\n",
        "",
    ),
    "answers replace a leader of a newer epoch": (
        "if new is None or new.leader_epoch < partition.leader_epoch:",
        "if new is None:",
    ),
    "epochs of two topics of one name are compared": (
        "heard.error is None and known.topic_id == heard.topic_id",
        "heard.error is None",
    ),
    "a hint about an earlier topic counts": (
        "if state.topic_id != topic_id:",
        "if not topic_id:",
    ),
    "a late hint counts": (
        "if found is None or leader_epoch <= found.leader_epoch:",
        "if found is None:",
    ),
    "the controller of an earlier term comes back": (
        "if epoch < self.controller_epoch or (",
        "if (",
    ),
}


@contextmanager
def planted(name: str) -> Iterator[ModuleType]:
    anchor, replacement = PLANTED[name]
    source = Path(metadata.__file__).read_text()
    assert source.count(anchor) == 1, f"the anchor of {name!r} is gone: move the bug"
    module = ModuleType("planted_metadata")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source.replace(anchor, replacement), module.__name__, "exec"), module.__dict__)
        yield module
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name) as module:

        @settings(max_examples=2_000, report_multiple_bugs=False)
        @given(STEPS, ORDER)
        def find(steps: list[str], order: list[Heard]) -> None:
            check(module, steps, order)

        with pytest.raises(AssertionError):
            find()


# ---- by hand -----------------------------------------------------------------------------------


def test_a_node_that_does_not_say_how_far_it_is_is_believed() -> None:
    cache = metadata.MetadataCache()
    cache.update(answer(metadata, START._replace(topic_id=b"1" * 16, epoch=3), 9))
    cache.update(answer(metadata, START._replace(topic_id=b"2" * 16), 0))
    state = cache.topic("t")
    assert state is not None and state.topic_id == b"2" * 16


def test_whether_an_answer_was_newer_is_told() -> None:
    cache = metadata.MetadataCache()
    assert cache.update(answer(metadata, START, 4))
    assert not cache.update(answer(metadata, START, 4))
    assert not cache.update(answer(metadata, START, 3))
    assert cache.update(answer(metadata, START, 5))


def test_a_hint_about_the_controller_counts_unless_it_is_older() -> None:
    cache = metadata.MetadataCache()
    cache.update(answer(metadata, START._replace(term=5), 4))
    assert cache.apply_controller_hint(1, 4, "n1:1") == ""
    assert cache.apply_controller_hint(3, 6, "") == "n3:7000"
    assert cache.apply_controller_hint(9, 7, "new:1") == "new:1"
    assert cache.apply_controller_hint(-1, 8, "") == ""
    assert (cache.controller_id, cache.controller_epoch) == (9, 7)
    assert cache.controller_address == ""
