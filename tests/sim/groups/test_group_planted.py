"""Bugs planted into members and into what joins the groups' machine to its log: each is seen.

Most by seeds of a group, under the faults that it takes; what only a member itself can tell, by a
test of it. When the source has changed and an anchor is gone, the test fails: move the bug to where
its rule lives now.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.planting import first_failure
from tests.support.sim_planting import check_found, plant_in_copy

COPIED = ("tests", "pyproject.toml")

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Bug:
    """`faults`: the only ones, and `found_as`: what a seed complains of (a pattern); or `tests`:
    what must see it. The first of `seeds` is the one that found it last."""

    name: str
    file: str
    anchor: str
    planted: str
    faults: str = ""
    found_as: str = ""
    seeds: str = "0:10"
    tests: tuple[str, ...] = ()


MEMBER = "client/logd_client/_core/group_member.py"
READING = "client/logd_client/_core/group_reading.py"
ENGINE = "client/logd_client/_engine/group.py"
OFFSETS = "client/logd_client/_engine/group_offsets.py"
CONSUMER = "client/logd_client/_engine/consumer.py"
FETCHER = "client/logd_client/_core/fetcher.py"
DRIVER = "logd/runtime/group_driver.py"
READER = "client/logd_client/_core/partition_reader.py"
SUBSCRIBED = "client/logd_client/_core/subscriptions.py"
TOPICS = "logd/groups/subscriptions.py"
MEMBER_TESTS = ("tests/unit/client/test_group_member.py",)
NODE_TESTS = "tests/integration/runtime/test_group_members.py"
ENGINE_TESTS = ("tests/unit/client/test_group_engine.py",)

#: Somebody delivers what is another's, or nobody's.
NOT_ITS_OWN = "delivered-not-owned|delivered-past-session"
NO_PROGRESS = "all is shared out and read"

BUGS = (
    # --- the member ------------------------------------------------------------------------------
    Bug(
        "a session counts from the answer",
        MEMBER,
        "        deadline_ms = beat.sent_ms + answer.session_ms\n",
        "        deadline_ms = now_ms + answer.session_ms\n",
        "late_calls,lost_calls,cut_member_off",
        NOT_ITS_OWN,
        "1:11",
    ),
    Bug(
        "what is assigned is read past the session",
        FETCHER,
        "                if reader.hold or (state.lease is not None and state.lease.over()):\n",
        "                if reader.hold:\n",
        "freeze,kill_member",
        NOT_ITS_OWN,
    ),
    Bug(
        "what a fenced member had is kept",
        MEMBER,
        "        lost = self._lose(why)\n",
        "        lost: list[Change] = []\n",
        "freeze,busy,leave",
        f"{NOT_ITS_OWN}|{NO_PROGRESS}",
        "4:14",
    ),
    Bug(
        "what is lost is read on",
        ENGINE,
        "        told = self._known(tps)\n        self.reading.lose(tps, why)\n",
        "        told = self._known(tps)\n",
        "freeze,lost_calls",
        f"{NOT_ITS_OWN}|delivered-out-of-order",
    ),
    Bug(
        "an answer to an earlier membership counts",
        MEMBER,
        "        # The answer to what was sent before is about another membership.\n"
        "        self._in_flight = None\n",
        "",
        tests=MEMBER_TESTS,
    ),
    Bug(
        "an answer counts twice",
        MEMBER,
        "        if self._in_flight is not beat:\n            return []\n"
        "        self._in_flight = None\n        self._attempts = 0\n",
        "        self._in_flight = None\n        self._attempts = 0\n",
        tests=MEMBER_TESTS,
    ),
    Bug(
        "giving up may take as long as it likes",
        MEMBER,
        "            self._give_up_by_ms = now_ms + self._rebalance_ms\n",
        "            self._give_up_by_ms = math.inf\n",
        "busy,leave,kill_member",
        NOT_ITS_OWN,
        "72:82",
    ),
    Bug(
        "what was given up counts before the coordinator knows",
        MEMBER,
        "        if not self._giving_up and self._knows_no_more_than_is_held():\n",
        "        if not self._giving_up:\n",
        tests=MEMBER_TESTS,
    ),
    Bug(
        "what is given up is said before it is",
        MEMBER,
        "        owned = frozenset(self.held)\n",
        "        owned = frozenset(self.held.keys() - self._giving_up)\n",
        tests=MEMBER_TESTS,
    ),
    Bug(
        "what was given up is not said",
        ENGINE,
        "        self._carry_out(self.member.given_up(given_up, self._clock.monotonic_ms()))\n",
        "        self._carry_out(self.member.given_up((), self._clock.monotonic_ms()))\n"
        "        assert given_up is not None\n",
        tests=(f"{NODE_TESTS}::test_a_planned_leave_hands_over_within_half_a_second",),
    ),
    Bug(
        "a member comes back as the one that left",
        ENGINE,
        "        self._memberships += 1\n        self._become_another()\n",
        "        self._memberships += 1\n",
        "rejoin,lost_calls,late_calls",
        NO_PROGRESS,
        "17:27",
    ),
    Bug(
        "what was given up is lost as well",
        ENGINE,
        "            self._silent.update(told)\n",
        "",
        "lost_calls,late_calls,busy,leave,resubscribe,kill_member",
        "told-of-others",
    ),
    # --- offsets ---------------------------------------------------------------------------------
    Bug(
        "what was handed out is committed",
        READING,
        "                reader.tp: reader.finished\n                for reader in self._readers(",
        "                reader.tp: reader.position or 0\n"
        "                for reader in self._readers(",
        "leave",
        "gap-below-commit",
    ),
    Bug(
        "a partition goes while a record of it is in hand",
        ENGINE,
        "        while self.reading.in_hand(tps) or self.reading.being_told_of(tps):\n",
        "        while self.reading.being_told_of(tps):\n",
        tests=ENGINE_TESTS,
    ),
    Bug(
        "commits are not counted",
        OFFSETS,
        "                sequence=self._sequence if speaker.member_id else 0,\n",
        "                sequence=0,\n",
        "doubled_calls,late_calls",
        "goes back",
    ),
    Bug(
        "an offset that could not be asked for is none",
        CONSUMER,
        "            return {}, dict.fromkeys(tps, error)\n",
        "            return {}, {}\n",
        "lost_calls,leave,kill_member",
        "goes back|gap-below-commit|commit-lost",
    ),
    # --- topics that change, and members that seek -----------------------------------------------
    Bug(
        "what a topic grows by is nobody's",
        TOPICS,
        " for name in names if before.get(name) != topics.get(name))\n",
        " for name in names if (name in before) != (name in topics))\n",
        "grow_topic",
        NO_PROGRESS,
        "0:3",
    ),
    Bug(
        "a topic that comes again matches no pattern",
        TOPICS,
        "        self._matching.clear()\n",
        "        for pattern, found in self._matching.items():\n"
        "            self._matching[pattern] = found & topics.keys()\n",
        "by_pattern,remake_topic",
        NO_PROGRESS,
        "0:5",
    ),
    Bug(
        "a position counts in whatever has the topic's name",
        SUBSCRIBED,
        '        if reader.topic_id not in (b"", leader.topic_id):\n',
        '        if leader.topic_id == b"":\n',
        "remake_topic,lost_calls,late_calls",
        f"{NOT_ITS_OWN}|delivered-out-of-order",
        "26:31",
    ),
    Bug(
        "a seek keeps what was fetched",
        FETCHER,
        "        self.state.abandon(reader)\n        reader.move_to(offset)\n",
        "        reader.move_to(offset)\n",
        "seek",
        "delivered-out-of-order",
        "0:3",
    ),
    Bug(
        "before a seek nothing was finished",
        READER,
        "        self.finished = offset\n",
        "        self.finished = offset if self.finished is None else 0\n",
        "seek",
        "goes back",
        "0:5",
    ),
    Bug(
        "what was sought when it was assigned is forgotten",
        READING,
        "                reader.hold &= ~why\n",
        "                reader.hold &= ~why\n"
        "                if why is Hold.ASSIGNING and not reader.has_data:\n"
        "                    reader.move_to(None)\n",
        "seek_on_assign,leave",
        "delivered-out-of-order|goes back",
        "0:5",
    ),
    # --- the driver ------------------------------------------------------------------------------
    Bug(
        "answers do not wait for the commit",
        DRIVER,
        "                await asyncio.shield(last)\n",
        "                await asyncio.sleep(0)\n",
        "lose_slow_coordinator,leave,kill_member",
        "told-what-is-not-in-the-log|commit-lost|told-other-than-the-log",
    ),
    Bug(
        "the end of the log is not loaded",
        DRIVER,
        "        begun_ms, found = clock.monotonic_ms(), self.partition\n"
        "        end_offset = found.high_watermark\n",
        "        begun_ms, found = clock.monotonic_ms(), self.partition\n"
        "        end_offset = max(0, found.high_watermark - 3)\n",
        "kill_coordinator,leave,kill_member",
        "contradiction|commit-lost|told-|delivered-",
        "1:11",
    ),
    Bug(
        "a node out of service coordinates",
        "logd/runtime/group_coordinator.py",
        "            serving=serving,\n",
        "            serving=lambda: True,\n",
        "cut_coordinator_off,leave,lost_calls,cut_member_off",
        NOT_ITS_OWN,
        "25:35",
    ),
    Bug(
        "what failed to be appended counts",
        DRIVER,
        "        if failure is not None and self._machine is machine:\n",
        "        if failure is not None and self._machine is None:\n",
        tests=("tests/unit/runtime/test_group_driver.py",),
    ),
)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_seen(bug: Bug, tmp_path: Path) -> None:
    plant_in_copy(bug, bug.file, tmp_path, COPIED)
    if bug.tests:
        assert first_failure(tmp_path, (*bug.tests, "--timeout=30")), f"{bug.tests} see nothing"
        return
    seeds = ["--seeds", bug.seeds, "--faults", bug.faults]
    check_found(tmp_path, "tests.sim.groups.run", seeds, bug.found_as, timeout_s=200)
