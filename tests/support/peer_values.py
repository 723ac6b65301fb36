"""Hypothesis strategies for everything that nodes say to each other, made from its types.

`strategy_for` reads the fields of a dataclass, so that a type that comes to be later is tested
without anybody thinking of it. `full`: no field has the value that it would have if it were lost.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from logd_wire.errors import LogdError, StorageFailedError

from logd.consensus.log_types import Entry, LogPoint, SnapshotMeta, Voter
from logd.consensus.messages import AppendRequest
from logd.metadata import (
    ANY_DIRECTORY,
    AllocateProducerIds,
    ReassignPartition,
    RemoveNode,
    ReplaceNode,
    TopicImage,
)
from logd.model.ids import (
    ID_BYTES,
    NO_NODE,
    NODE_ID_MAX,
    ClusterId,
    DirectoryId,
    LeaderEpoch,
    LogIndex,
    NodeId,
    Offset,
    Term,
    TopicId,
    TopicPartitionId,
)
from logd.runtime.peers import PeerIdentity, SnapshotChunk

T = TypeVar("T")
Any_ = st.SearchStrategy[Any]

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
_MAY_BE_NO_NODE = frozenset({"leader_id", "last_known_leader"})
ids = st.binary(min_size=ID_BYTES, max_size=ID_BYTES)
#: What a payload of a test says of voters: those that carry this mark put `VOTERS` in force.
VOTERS_MARK = b"voters"
VOTERS = (Voter(NodeId(3), DirectoryId(bytes(range(16))), "node3:7172"),)
#: A payload that cannot be read.
NO_RECORD = b"\xff" * 30


def voters_of(payloads: tuple[bytes, ...]) -> tuple[Voter, ...] | None:
    """Stands for the record codec."""
    if NO_RECORD in payloads:
        raise StorageFailedError("30 bytes are not a record", hint="run the newer version")
    return VOTERS if payloads == (VOTERS_MARK,) else None


@dataclass(frozen=True, slots=True)
class Drawing:
    """How values are drawn."""

    full: bool

    def numbers(self, maximum: int) -> st.SearchStrategy[int]:
        return st.integers(int(self.full), maximum)

    def texts(self) -> st.SearchStrategy[str]:
        return st.text(min_size=int(self.full), max_size=20)

    def addresses(self) -> st.SearchStrategy[str]:
        named = st.from_regex(r"\A[a-z0-9.-]{1,20}:[0-9]{1,5}\Z")
        return named if self.full else st.just("") | named

    def binaries(self) -> st.SearchStrategy[bytes]:
        return st.binary(min_size=int(self.full), max_size=20)

    def tuples(self, each: Any_) -> Any_:
        return st.lists(each, min_size=int(self.full), max_size=4).map(tuple)


@cache
def strategy_for(kind: Any, *, full: bool) -> Any_:
    """Values of a type: a dataclass, a union, a number, ..."""
    return _of(kind, "", Drawing(full))


def _of(kind: Any, name: str, how: Drawing) -> Any_:
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(how)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, how)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        options = [each for each in arguments if each is not type(None) or not how.full]
        return st.one_of([_of(each, name, how) for each in options])
    if origin in {tuple, Sequence} and arguments[-1] is Ellipsis:
        if get_origin(arguments[0]) is tuple:
            return _overrides(how)
        return how.tuples(_of(arguments[0], name, how))
    if origin is Mapping or origin is dict:
        return st.dictionaries(how.texts(), how.texts(), min_size=int(how.full), max_size=3)
    return _plain(kind, name, how)


def _plain(kind: Any, name: str, how: Drawing) -> Any_:
    plain: dict[Any, Any_] = {
        bool: st.just(True) if how.full else st.booleans(),
        int: how.numbers(INT32_MAX),
        str: how.addresses() if name.endswith("address") else how.texts(),
        bytes: ids if name.endswith("_id") else how.binaries(),
        type(None): st.none(),
        ClusterId: ids,
        TopicId: ids,
        DirectoryId: ids,
        NodeId: how.numbers(NODE_ID_MAX)
        | (st.just(NO_NODE) if name in _MAY_BE_NO_NODE and not how.full else st.nothing()),
        LeaderEpoch: how.numbers(INT32_MAX),
        LogIndex: how.numbers(INT64_MAX),
        Offset: how.numbers(INT64_MAX),
        Term: how.numbers(INT64_MAX),
    }
    assert kind in plain, f"no strategy for {kind} ({name})"
    return plain[kind]


def _dataclass(kind: type[T], how: Drawing) -> st.SearchStrategy[T]:
    hints = get_type_hints(kind)
    given = {each.name: _of(hints[each.name], each.name, how) for each in fields(kind)}  # type: ignore[arg-type]
    return st.builds(kind, **given)


# --- values that their types do not tell everything of --------------------------------------------


def _points(how: Drawing) -> st.SearchStrategy[LogPoint]:
    return st.builds(LogPoint, how.numbers(1_000), how.numbers(INT64_MAX // 2))


def _voters(how: Drawing) -> Any_:
    each = _dataclass(Voter, how)
    found = st.lists(each, min_size=int(how.full), max_size=4, unique_by=lambda one: one.node_id)
    return found.map(lambda voters: tuple(sorted(voters, key=lambda one: one.node_id)))


def _snapshots(how: Drawing) -> st.SearchStrategy[SnapshotMeta]:
    return st.builds(SnapshotMeta, _points(how), _voters(how))


def _overrides(how: Drawing) -> Any_:
    pairs = st.dictionaries(how.texts(), how.texts(), min_size=int(how.full), max_size=3)
    return pairs.map(lambda config: tuple(sorted(config.items())))


@st.composite
def _appends(draw: st.DrawFn, how: Drawing) -> AppendRequest:
    previous = draw(_points(how))
    at, entries = previous, []
    payloads = st.just((VOTERS_MARK,)) | st.lists(st.binary(max_size=20), min_size=1).map(tuple)
    for _ in range(draw(st.integers(int(how.full), 3))):
        term = Term(draw(st.integers(max(at.term, 1), max(at.term, 1) + 2)))
        each = draw(payloads)
        entry = Entry(at.index, term, each, voters_of(each))
        entries.append(entry)
        at = LogPoint(term, entry.next_index)
    term = Term(draw(st.integers(max(at.term, 1), INT64_MAX)))
    commit_index = LogIndex(draw(how.numbers(INT64_MAX)))
    return AppendRequest(term, previous, tuple(entries), commit_index)


@st.composite
def _chunks(draw: st.DrawFn, how: Drawing) -> SnapshotChunk:
    data, position = draw(how.binaries()), draw(how.numbers(INT32_MAX))
    behind = draw(st.integers(0, 100))
    return SnapshotChunk(
        Term(draw(how.numbers(INT64_MAX))),
        draw(_snapshots(how)),
        position,
        position + len(data) + behind,
        data,
    )


def _topics(how: Drawing) -> st.SearchStrategy[TopicImage]:
    hints = get_type_hints(TopicImage)
    given = {each.name: _of(hints[each.name], each.name, how) for each in fields(TopicImage)}
    # One that was only planned has no id.
    given["topic_id"] = ids if how.full else ids | st.just(b"")
    return st.builds(TopicImage, **given)


def _directories(kind: type[T]) -> Callable[[Drawing], st.SearchStrategy[T]]:
    """Of a command that may mean whichever directory is registered."""

    def drawn(how: Drawing) -> st.SearchStrategy[T]:
        hints = get_type_hints(kind)
        given = {name: _of(hint, name, how) for name, hint in hints.items()}
        given["directory_id"] = ids if how.full else ids | st.just(ANY_DIRECTORY)
        return st.builds(kind, **given)

    return drawn


def _allocations(how: Drawing) -> st.SearchStrategy[AllocateProducerIds]:
    count = st.integers(1, INT32_MAX)
    return st.builds(AllocateProducerIds, _of(NodeId, "node_id", how), count)


def _reassignments(how: Drawing) -> st.SearchStrategy[ReassignPartition]:
    """Replicas are named, or called back; no replicas at all are no message."""
    nodes = st.lists(_of(NodeId, "node_id", how), min_size=1, max_size=4).map(tuple)
    return st.builds(
        ReassignPartition,
        _of(TopicId, "topic_id", how),
        how.numbers(INT32_MAX),
        nodes if how.full else nodes | st.none(),
        ids if how.full else ids | st.just(b""),
    )


def _partitions(how: Drawing) -> st.SearchStrategy[TopicPartitionId]:
    return st.builds(TopicPartitionId, _of(TopicId, "topic_id", how), how.numbers(INT32_MAX))


_SPECIAL: dict[Any, Callable[[Drawing], Any_]] = {
    LogPoint: _points,
    SnapshotMeta: _snapshots,
    AppendRequest: _appends,
    SnapshotChunk: _chunks,
    # Errors are not compared: a test of their own has them.
    LogdError: lambda _how: st.nothing(),
    TopicImage: _topics,
    TopicPartitionId: _partitions,
    AllocateProducerIds: _allocations,
    ReassignPartition: _reassignments,
    RemoveNode: _directories(RemoveNode),
    ReplaceNode: _directories(ReplaceNode),
}

identities = strategy_for(PeerIdentity, full=False)
