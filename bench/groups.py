"""What the groups' machine costs by itself: `python -m bench.groups [--groups N] [--members N]`.

heartbeat    a member that keeps what it has, in microseconds; and the part of a core that all
             members take at their heartbeat interval
commit       one partition committed, the replay of its record included
join         a member joins and settles, the replay included
topics       one topic that nobody reads comes
load         a coordinator takes over: replay of the log with `--commits` commits
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable

from logd.groups import (
    Commit,
    Decision,
    GroupRecord,
    Groups,
    GroupSettings,
    Heartbeat,
    HeartbeatReply,
    OffsetToCommit,
    TopicView,
)
from logd.model.ids import TopicId

PARTITIONS = 10
TOPICS = 20
ROUNDS = 5


class Coordinator:
    """Groups with equally many members each, settled."""

    def __init__(self, groups: int, members: int) -> None:
        self.settings = GroupSettings()
        self.machine = self.new_machine()
        self.log: list[GroupRecord] = []
        self.topics = {
            f"topic-{number}": TopicView(TopicId(number.to_bytes(16, "big")), PARTITIONS)
            for number in range(1, TOPICS + 1)
        }
        self.take(self.machine.topics_changed(self.topics, 0))
        self.epochs: dict[tuple[str, str], int] = {}
        for number in range(members):
            self.join(f"group-{number % groups}", f"member-{number}", number % groups % TOPICS)
        for _ in range(3):
            self.settle()
        self.held = [
            (f"group-{number}", member_id, partition)
            for number in range(min(groups, members))
            for partition, member_id in self.machine.assigned(f"group-{number}").items()
        ]

    def new_machine(self) -> Groups:
        machine = Groups(self.settings, new_pattern=re.compile)
        machine.loaded(0)
        return machine

    def take(self, decision: Decision[object]) -> None:
        for record in decision.records:
            self.log.append(record)
            self.machine.replay(record)

    def join(self, group_id: str, member_id: str, topic: int) -> None:
        names = (f"topic-{topic + 1}",)
        decision = self.machine.heartbeat(Heartbeat(group_id, member_id, 0, topics=names), 0)
        self.take(decision)
        self.epochs[group_id, member_id] = decision.reply.member_epoch

    def settle(self) -> None:
        for (group_id, member_id), epoch in self.epochs.items():
            reply = self.heartbeat(group_id, member_id, epoch)
            if reply.assignment is not None:
                said = Heartbeat(group_id, member_id, reply.member_epoch, owned=reply.assignment)
                decision = self.machine.heartbeat(said, 0)
                self.take(decision)
                reply = decision.reply
            self.epochs[group_id, member_id] = reply.member_epoch

    def heartbeat(self, group_id: str, member_id: str, epoch: int) -> HeartbeatReply:
        decision = self.machine.heartbeat(Heartbeat(group_id, member_id, epoch), 0)
        self.take(decision)
        return decision.reply

    def heartbeats(self) -> int:
        for (group_id, member_id), epoch in self.epochs.items():
            self.heartbeat(group_id, member_id, epoch)
        return len(self.epochs)

    def commits(self) -> int:
        for group_id, member_id, partition in self.held:
            epoch, offset = self.epochs[group_id, member_id], OffsetToCommit(*partition, 1)
            self.take(self.machine.commit(Commit(group_id, member_id, epoch, (offset,)), 0))
        return len(self.held)


def best(work: Callable[[], int], rounds: int = ROUNDS) -> float:
    """Microseconds of one unit of work, in the best of some rounds."""
    samples = []
    for _ in range(rounds):
        started = time.perf_counter()
        units = work()
        samples.append((time.perf_counter() - started) / units * 1e6)
    return min(samples)


def main() -> None:
    """Measure, and print one line each."""
    parser = argparse.ArgumentParser(prog="python -m bench.groups", description=__doc__)
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--members", type=int, default=5_000)
    parser.add_argument("--commits", type=int, default=100_000)
    arguments = parser.parse_args()
    started = time.perf_counter()
    there = Coordinator(arguments.groups, arguments.members)
    joined_us = (time.perf_counter() - started) / arguments.members * 1e6
    print(f"join       {joined_us:8.1f} us a member")
    heartbeat_us = best(there.heartbeats)
    interval_ms = there.settings.heartbeat_interval_ms(there.settings.session_timeout_ms_default)
    core = heartbeat_us * arguments.members / interval_ms / 1e3
    print(f"heartbeat  {heartbeat_us:8.2f} us; {core:.2%} of a core for all {arguments.members}")
    print(f"commit     {best(there.commits):8.2f} us")
    print(f"topics     {best(lambda: topic_comes(there)) / 1e3:8.2f} ms a topic that comes")
    log = list(there.log)
    newest = log[-len(there.held) :]
    while len(log) < arguments.commits:
        log.extend(newest)
    print(f"load       {best(lambda: load(there, log), 1) / 1e3:8.1f} ms for {len(log)} records")


def topic_comes(there: Coordinator) -> int:
    number = len(there.topics) + 1
    there.topics[f"more-{number}"] = TopicView(TopicId(number.to_bytes(16, "big")), PARTITIONS)
    there.take(there.machine.topics_changed(there.topics, 0))
    return 1


def load(there: Coordinator, log: list[GroupRecord]) -> int:
    machine = there.new_machine()
    for record in log:
        machine.replay(record)
    machine.topics_changed(there.topics, 0)
    return 1


if __name__ == "__main__":
    main()
