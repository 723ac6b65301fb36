"""Who shall read which partition: pure functions of members, topics and what is held already.

`uniform` gives every member as many partitions as any other, as far as subscriptions allow, and
moves as few as that takes: with equal subscriptions the least possible number. Among members that
have equally few it prefers one in a rack of the partition's replicas; it moves nothing for that.

`range` gives every member a run of neighbouring partitions of each topic, the same run of topics
with equally many partitions, in the order of instance ids or else member ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Final

from logd.groups.records import Partitions
from logd.groups.subscriptions import Topics, TopicView
from logd.model.ids import TopicPartitionId


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A member as assignors see it."""

    #: Names; those that do not exist are passed over.
    topics: frozenset[str]
    #: Empty: a dynamic member.
    instance_id: str = ""
    #: Empty: none.
    rack: str = ""


Subscribers = Mapping[str, Subscriber]
#: Who holds a partition, or was to have it.
Held = Mapping[TopicPartitionId, str]
Targets = dict[str, Partitions]
_Given = dict[str, dict[TopicPartitionId, str]]


def range_(members: Subscribers, topics: Topics, held: Held) -> Targets:
    """Runs of neighbouring partitions; see the module. `held` does not count."""
    given: dict[str, set[TopicPartitionId]] = {member_id: set() for member_id in members}
    for name, readers in _readers(members, topics).items():
        ordered = sorted(readers, key=lambda each: (members[each].instance_id or each, each))
        view = topics[name]
        share, more = divmod(view.partitions, len(ordered))
        start = 0
        for index, member_id in enumerate(ordered):
            end = start + share + (index < more)
            run = (TopicPartitionId(view.topic_id, number) for number in range(start, end))
            given[member_id].update(run)
            start = end
    return {member_id: frozenset(partitions) for member_id, partitions in given.items()}


def uniform(members: Subscribers, topics: Topics, held: Held) -> Targets:
    """As many for each as for any other, and few moves; see the module."""
    readers = _readers(members, topics)
    given: _Given = {member_id: {} for member_id in members}
    loose: list[tuple[TopicPartitionId, str]] = []
    for name in sorted(readers, key=lambda each: (len(readers[each]), each)):
        view = topics[name]
        for number in range(view.partitions):
            partition = TopicPartitionId(view.topic_id, number)
            holder = held.get(partition)
            if holder is not None and holder in members and name in members[holder].topics:
                given[holder][partition] = name
            else:
                loose.append((partition, name))
    _give_out(loose, given, members, topics, readers)
    _Levelling(given, readers, held).run()
    return {member_id: frozenset(partitions) for member_id, partitions in given.items()}


def _readers(members: Subscribers, topics: Topics) -> dict[str, tuple[str, ...]]:
    """Return topic -> who reads it, by id; topics that have readers and partitions only."""
    found: dict[str, list[str]] = {}
    for member_id in sorted(members):
        for name in members[member_id].topics:
            if name in topics:
                found.setdefault(name, []).append(member_id)
    return {name: tuple(readers) for name, readers in found.items() if topics[name].partitions}


class _Fewest:
    """The member with the fewest partitions among some; it may only get more meanwhile."""

    def __init__(self, member_ids: Iterable[str], given: _Given) -> None:
        self._given = given
        self._heap = [(len(given[member_id]), member_id) for member_id in member_ids]
        heapify(self._heap)

    def find(self) -> tuple[int, str] | None:
        while self._heap:
            load, member_id = self._heap[0]
            now = len(self._given[member_id])
            if now == load:
                return load, member_id
            heapreplace(self._heap, (now, member_id))
        return None


def _give_out(
    loose: list[tuple[TopicPartitionId, str]],
    given: _Given,
    members: Subscribers,
    topics: Topics,
    readers: Mapping[str, tuple[str, ...]],
) -> None:
    """Give every loose partition to the reader with the fewest; first to those in its racks."""
    fewest: dict[tuple[tuple[str, ...], str], _Fewest] = {}

    def least(name: str, rack: str) -> tuple[int, str] | None:
        key = readers[name], rack
        if key not in fewest:
            among = (each for each in key[0] if not rack or members[each].rack == rack)
            fewest[key] = _Fewest(among, given)
        return fewest[key].find()

    total = sum(topics[name].partitions for name in readers)
    share = total // len(members) if members else 0
    left: list[tuple[TopicPartitionId, str]] = []
    for partition, name in loose:
        racks = _racks_of(topics[name], partition.partition)
        near = [found for rack in sorted(racks) if (found := least(name, rack)) is not None]
        if near and min(near)[0] < share:
            given[min(near)[1]][partition] = name
        else:
            left.append((partition, name))
    for partition, name in left:
        found = least(name, "")
        assert found is not None
        given[found[1]][partition] = name


def _racks_of(view: TopicView, partition: int) -> frozenset[str]:
    return view.racks[partition] - {""} if partition < len(view.racks) else frozenset()


class _Levelling:
    """Moves partitions, along chains of readers where need be, while that makes loads more even.

    A member gives one to a reader of the topic, which gives one of another topic to the next, until
    one gets it that had at least two fewer than the first. When there is no such chain the loads
    are as even as subscriptions allow.
    """

    def __init__(self, given: _Given, readers: Mapping[str, tuple[str, ...]], held: Held) -> None:
        self._given = given
        self._readers = readers
        self._held = held
        #: Whoever leads to nobody with two fewer. They lead to each other only, so no chain from
        #: outside changes that.
        self._stuck: set[str] = set()

    def run(self) -> None:
        loads = Counter({each: len(partitions) for each, partitions in self._given.items()})
        while loads and max(loads.values()) - min(loads.values()) > 1:
            free = [each for each in loads if each not in self._stuck]
            if not free:
                return
            donor = max(free, key=lambda each: (loads[each], each))
            chain = self._chain_from(donor, loads)
            if chain:
                for giver, name, taker in chain:
                    self._move(giver, name, taker)
                loads[donor] -= 1
                loads[chain[-1][2]] += 1

    def _chain_from(self, donor: str, loads: Mapping[str, int]) -> list[tuple[str, str, str]]:
        """The moves from the donor to whom it leads with the fewest; none: they are all stuck."""
        came: dict[str, tuple[str, str]] = {donor: ("", "")}
        asked: set[str] = set()
        queue = [donor]
        for giver in queue:
            for name in sorted(set(self._given[giver].values()) - asked):
                asked.add(name)
                fresh = [each for each in self._readers[name] if each not in came]
                fresh = [each for each in fresh if each not in self._stuck]
                came.update((each, (giver, name)) for each in fresh)
                queue.extend(fresh)
        last = min(queue, key=lambda each: (loads[each], each))
        if loads[last] > loads[donor] - 2:
            self._stuck.update(queue)
            return []
        chain = []
        while last != donor:
            giver, name = came[last]
            chain.append((giver, name, last))
            last = giver
        return chain[::-1]

    def _move(self, giver: str, name: str, taker: str) -> None:
        movable = [each for each, of in self._given[giver].items() if of == name]
        # One that does not come from the giver, or belonged to the taker, moves for nothing.
        best = max(movable, key=lambda each: (self._held.get(each) != giver, each))
        del self._given[giver][best]
        self._given[taker][best] = name


UNIFORM: Final = "uniform"
RANGE: Final = "range"
ASSIGNORS: Final[Mapping[str, Callable[[Subscribers, Topics, Held], Targets]]] = {
    UNIFORM: uniform,
    RANGE: range_,
}


def preferred_assignor(wanted: Iterable[str]) -> str:
    """The assignor that most members want; among equals `uniform`."""
    votes = Counter(wanted)
    return max(ASSIGNORS, key=lambda name: (votes[name], name == UNIFORM))
