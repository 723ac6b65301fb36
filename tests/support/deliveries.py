"""What members of a group were handed, and whether that was right.

Records of a partition have the offsets 0, 1, 2 and so on, without holes. A *tenure* is the time of
one member with one partition, from `assign` to `revoke` or `lost`. Times are nanoseconds of one
monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

#: So many problems are told of.
_TOLD_MAX = 20


class Delivery(NamedTuple):
    """A record that was handed to a member. `first`: the first event of the member since it was
    frozen; the record may have been in its hand all the time."""

    when: int
    member: str
    tenure: int
    offset: int
    first: bool


class Committed(NamedTuple):
    """What the coordinator said, once it had answered at `when`."""

    when: int
    partition: int
    offset: int


class Pause(NamedTuple):
    """How long a record was there that its partition's member was not handed, though the partition
    did not move."""

    ns: int
    partition: int
    member: str
    offset: int


@dataclass(slots=True)
class Deliveries:
    """By partition, in the order of time."""

    by_partition: dict[int, list[Delivery]] = field(default_factory=dict)
    tenures: int = 0
    lost: int = 0
    #: Member -> when it was frozen, and until when.
    freezes: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.by_partition.values()))

    @property
    def repeated(self) -> int:
        """Records that were handed out again."""
        return self.count - sum(
            len({each.offset for each in found}) for found in self.by_partition.values()
        )


def read_events(path: Path, freezes: Sequence[tuple[int, int]], into: Deliveries) -> None:
    """Take in the log of one process (see `member_process`), and when that was frozen."""
    tenure_of: dict[tuple[str, int], int] = {}
    newest: dict[str, int] = {}
    for line in path.read_text().splitlines():
        words = line.split()
        when, member, what = int(words[0]), words[1], words[2]
        into.freezes.setdefault(member, list(freezes))
        before = newest.get(member, when)
        newest[member] = when
        if what == "record":
            partition = int(words[3])
            first = any(before <= end <= when for _, end in freezes)
            tenure = tenure_of.get((member, partition), -1)
            delivery = Delivery(when, member, tenure, int(words[4]), first)
            into.by_partition.setdefault(partition, []).append(delivery)
            continue
        for number in words[3].split(","):
            tenure_of.pop((member, int(number)), None)
            if what == "assign":
                into.tenures += 1
                tenure_of[member, int(number)] = into.tenures
            into.lost += what == "lost"


def in_order(deliveries: Deliveries) -> Deliveries:
    """Sort what came from several processes."""
    for found in deliveries.by_partition.values():
        found.sort()
    return deliveries


def problems(
    deliveries: Deliveries, committed: Iterable[Committed], ends: Mapping[int, int]
) -> list[str]:
    """Everything that is wrong. `committed` in the order of time; `ends`: offsets up to which each
    partition should have been delivered by now."""
    found: list[str] = []
    for partition, handed in sorted(deliveries.by_partition.items()):
        found += [f"partition {partition}: {each}" for each in _of_partition(handed)]
    for partition, end in ends.items():
        offsets = {each.offset for each in deliveries.by_partition.get(partition, ())}
        missing = [offset for offset in range(end) if offset not in offsets]
        if missing:
            found.append(f"partition {partition}: {missing[:5]} of {end} were never delivered")
    found += _of_commits(deliveries, committed)
    return found[:_TOLD_MAX]


def _of_partition(handed: Sequence[Delivery]) -> list[str]:
    found: list[str] = []
    next_of: dict[int, int] = {}
    newest_tenure, highest = 0, -1
    for each in handed:
        if each.tenure < 0:
            found.append(f"{each.member} was handed {each.offset} before it had the partition")
        expected = next_of.get(each.tenure)
        if expected is not None and each.offset != expected:
            found.append(f"{each.member} was handed {each.offset}, not {expected}")
        if expected is None and each.offset > highest + 1:
            found.append(f"{each.member} began at {each.offset}, and {highest + 1} was skipped")
        is_new = expected is None
        late = each.tenure != newest_tenure and not is_new
        if late and not each.first:
            found.append(f"{each.member} was handed {each.offset} when another had the partition")
        next_of[each.tenure] = each.offset + 1
        newest_tenure = each.tenure if is_new else newest_tenure
        highest = max(highest, each.offset)
    return found


def _of_commits(deliveries: Deliveries, committed: Iterable[Committed]) -> list[str]:
    found: list[str] = []
    known = {
        partition: _complete_since(handed) for partition, handed in deliveries.by_partition.items()
    }
    highest: dict[int, int] = {}
    for when, partition, offset in committed:
        if offset < highest.get(partition, 0):
            found.append(f"partition {partition}: {offset} committed after {highest[partition]}")
        highest[partition] = offset
        complete = known.get(partition, [])
        if offset > len(complete) or (offset and complete[offset - 1] > when):
            found.append(f"partition {partition}: {offset} committed, not all was delivered then")
    return found


def _complete_since(handed: Sequence[Delivery]) -> list[int]:
    """By offset, since when everything up to there has been delivered, as far as all was."""
    first: dict[int, int] = {}
    for each in handed:
        first.setdefault(each.offset, each.when)
    row: list[int] = []
    while len(row) in first:
        row.append(first[len(row)])
    return list(accumulate(row, max))


def pauses(
    deliveries: Deliveries,
    available: Mapping[int, Mapping[int, int]],
    excused: Mapping[int, Sequence[tuple[int, int]]],
) -> list[Pause]:
    """Longest first. `available`: partition -> offset -> when it could be read at the latest, of
    what can be told; `excused`: partition -> when it had another reason. What a frozen member did
    not do is no pause."""
    found = []
    for partition, handed in deliveries.by_partition.items():
        before: dict[int, int] = {}
        for each in handed:
            since = before.get(each.tenure)
            before[each.tenure] = each.when
            there = available.get(partition, {}).get(each.offset)
            if since is None or there is None:
                continue
            begun = max(since, there)
            reasons = [*deliveries.freezes[each.member], *excused.get(partition, ())]
            if not any(began <= each.when and begun <= ended for began, ended in reasons):
                found.append(Pause(each.when - begun, partition, each.member, each.offset))
    return sorted(found, reverse=True)


def taken_over_ns(
    deliveries: Deliveries, partitions: Iterable[int], before: Iterable[str], since: int
) -> int | None:
    """How long after `since` the last of these partitions was delivered by none of the members that
    had it `before`; None: one has not been yet."""
    gone = set(before)
    longest = 0
    for partition in partitions:
        handed = deliveries.by_partition.get(partition, ())
        next_one = next((x.when for x in handed if x.when > since and x.member not in gone), None)
        if next_one is None:
            return None
        longest = max(longest, next_one - since)
    return longest
