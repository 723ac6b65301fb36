"""A coordinator, members, and a network between them that loses, delays and doubles.

After every step: one owner of each partition in the log, and of what members that are awake deliver
or have not given up; no commit from an epoch that is over; none that was acknowledged is lost, none
goes back; nothing below a committed offset is left out. When the faults end all members have what
they shall have.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from logd_wire.errors import ErrorCode, LogdError

from logd.groups import (
    LEAVING,
    LEAVING_STATIC,
    Commit,
    Decision,
    FetchOffsets,
    Forgotten,
    GroupRecord,
    Groups,
    Heartbeat,
    HeartbeatReply,
    MemberDescription,
    OffsetCommitted,
    Topics,
    TopicView,
    key_of,
)
from logd.model.ids import TopicPartitionId
from tests.unit.groups.consumer import Consumer
from tests.unit.groups.oracle import Oracle
from tests.unit.groups.rig import (
    GROUP,
    REBALANCE_MS,
    SESSION_MS,
    SETTINGS,
    new_pattern,
    topic_id,
)

SLOTS = (0, 1, 2, 3)
#: Members of these slots are static.
STATIC = (2, 3)
STEP_MS = 1_000

Asked = Heartbeat | Commit | FetchOffsets
Answer = object


@dataclass(frozen=True)
class Request:
    slot: int
    member_id: str
    call: int
    sent_ms: int
    asked: Asked


@dataclass(frozen=True)
class Response:
    request: Request
    #: Given when so much of the log is committed.
    needs: int
    answer: Answer


class World:
    """Slots of members come and go; coordinators follow each other with one log."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.now_ms = 0
        self.wall_ms = 10**12
        self.log: list[GroupRecord] = []
        self.committed = 0
        self.oracle = Oracle()
        self.sizes = {"orders": 4, "letters": 2}
        self.lives = {"orders": 0, "letters": 0}
        self.consumers: dict[int, Consumer] = {}
        self.births = 0
        self.calls = 0
        self.requests: list[Request] = []
        self.responses: list[Response] = []
        #: Up to where somebody delivered each partition, without a gap.
        self.delivered: dict[TopicPartitionId, int] = {}
        self.groups = self.new_coordinator([])

    # --- the coordinator -------------------------------------------------------------------------

    def topics(self) -> Topics:
        return {
            name: TopicView(topic_id(name, self.lives[name]), count)
            for name, count in self.sizes.items()
        }

    def new_coordinator(self, log: list[GroupRecord]) -> Groups:
        groups = Groups(SETTINGS, new_pattern=new_pattern)
        for record in log:
            groups.replay(record)
        groups.loaded(self.now_ms)
        self.groups = groups
        self.take(groups.topics_changed(self.topics(), self.now_ms))
        return groups

    def take(self, decision: Decision[Answer]) -> Answer:
        for record in decision.records:
            self.log.append(record)
            self.oracle.read(record)
            self.groups.replay(record)
        return decision.reply

    def fail_over(self) -> None:
        """Another node leads; it has what is committed, and any part of what comes after."""
        kept = self.dice.randint(self.committed, len(self.log))
        del self.log[kept:]
        self.committed = kept
        self.responses = [each for each in self.responses if each.needs <= kept]
        self.oracle = Oracle(self.log)
        self.new_coordinator(self.compacted())

    def compacted(self) -> list[GroupRecord]:
        """The log as a cleaner may have left it: clean up to somewhere."""
        upto = self.dice.choice([0, self.dice.randint(0, len(self.log)), len(self.log)])
        newest = {key_of(record): index for index, record in enumerate(self.log[:upto])}
        forget = self.dice.random() < 0.5
        kept = [
            record
            for index, record in enumerate(self.log[:upto])
            if newest[key_of(record)] == index and not (forget and isinstance(record, Forgotten))
        ]
        return kept + self.log[upto:]

    def commit_log(self, *, everything: bool = False) -> None:
        end = len(self.log)
        self.committed = end if everything else self.dice.randint(self.committed, end)

    def tick(self) -> None:
        self.take(self.groups.tick(self.now_ms, self.wall_ms))

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        self.wall_ms += ms
        for consumer in self.consumers.values():
            consumer.look_at_clock(self.now_ms)

    def change_topics(self) -> None:
        name = self.dice.choice(sorted(self.sizes))
        if name == "letters" and self.dice.random() < 0.3:
            self.lives[name] += 1
            self.sizes[name] = 1
        self.sizes[name] = min(6, self.sizes[name] + 1)
        self.take(self.groups.topics_changed(self.topics(), self.now_ms))

    # --- members ---------------------------------------------------------------------------------

    def start(self, slot: int) -> None:
        if slot not in self.consumers:
            self.births += 1
            names = ("orders", "letters") if slot % 2 == 0 else ("orders",)
            instance_id = f"i{slot}" if slot in STATIC else None
            self.consumers[slot] = Consumer(f"m{slot}-{self.births}", names, instance_id)

    def crash(self, slot: int) -> None:
        self.consumers.pop(slot, None)

    def freeze(self, slot: int) -> None:
        if slot in self.consumers:
            self.consumers[slot].frozen = True

    def thaw(self, slot: int) -> None:
        consumer = self.consumers.get(slot)
        if consumer is not None:
            consumer.frozen = False
            consumer.look_at_clock(self.now_ms)

    def awake(self, slot: int) -> Consumer | None:
        consumer = self.consumers.get(slot)
        return None if consumer is None or consumer.frozen else consumer

    def leave(self, slot: int) -> None:
        consumer = self.awake(slot)
        if consumer is not None:
            epoch = LEAVING_STATIC if consumer.instance_id else LEAVING
            asked = Heartbeat(GROUP, consumer.member_id, epoch, consumer.instance_id)
            self._send(slot, consumer, asked)
            del self.consumers[slot]

    def subscribe(self, slot: int) -> None:
        consumer = self.awake(slot)
        if consumer is not None:
            consumer.topics = self.dice.choice([("orders",), ("letters",), ("letters", "orders")])
            consumer.says_everything = True

    def heartbeat(self, slot: int) -> None:
        consumer = self.awake(slot)
        if consumer is not None:
            asked = consumer.heartbeat(self.calls + 1, self.now_ms)
            self._send(slot, consumer, asked)

    def commit(self, slot: int) -> None:
        consumer = self.awake(slot)
        if consumer is not None and consumer.epoch > 0 and consumer.positions:
            self._send(slot, consumer, consumer.commit())

    def fetch(self, slot: int) -> None:
        consumer = self.awake(slot)
        if (
            consumer is not None
            and consumer.epoch > 0
            and consumer.held - consumer.positions.keys()
        ):
            self._send(slot, consumer, consumer.fetch())

    def give_up(self, slot: int) -> None:
        consumer = self.awake(slot)
        if consumer is not None and consumer.giving:
            consumer.give_up()

    def deliver_records(self, slot: int, count: int = 1) -> None:
        consumer = self.awake(slot)
        if consumer is not None:
            for partition in sorted(consumer.delivering(self.now_ms)):
                at = consumer.positions[partition]
                assert at <= self.delivered.get(partition, 0), f"{partition}: a gap before {at}"
                consumer.positions[partition] = at + count
                self.delivered[partition] = max(self.delivered.get(partition, 0), at + count)

    def _send(self, slot: int, consumer: Consumer, asked: Asked) -> None:
        self.calls += 1
        sent = Request(slot, consumer.member_id, self.calls, self.now_ms, asked)
        self.requests.append(sent)

    # --- the network -----------------------------------------------------------------------------

    def arrive(self, index: int, *, again: bool = False) -> None:
        """A request reaches the coordinator; `again`: another copy is on its way still."""
        request = self.requests[index] if again else self.requests.pop(index)
        answer = self._answer(request.asked)
        if isinstance(request.asked, Commit) and isinstance(answer, tuple):
            for asked, refusal in zip(request.asked.offsets, answer, strict=True):
                partition = TopicPartitionId(asked.topic_id, asked.partition)
                assert refusal is not None or self.oracle.offsets[partition] >= asked.offset
        self.responses.append(Response(request, len(self.log), answer))

    def _answer(self, asked: Asked) -> Answer:
        try:
            match asked:
                case Heartbeat():
                    return self.take(self.groups.heartbeat(asked, self.now_ms))
                case Commit():
                    return self.take(self.groups.commit(asked, self.wall_ms))
                case FetchOffsets():
                    return self.groups.fetch_offsets(asked)
        except LogdError as error:
            return error

    def lose_request(self, index: int) -> None:
        del self.requests[index]

    def lose_response(self, index: int) -> None:
        del self.responses[index]

    def come_back(self, index: int) -> None:
        """A response reaches its member, once the log has committed what it says."""
        response = self.responses[index]
        if response.needs > self.committed:
            return
        request = response.request
        consumer = self.awake(request.slot)
        del self.responses[index]
        if consumer is not None and consumer.member_id == request.member_id:
            self._hear(consumer, request, response.answer)

    def _hear(self, consumer: Consumer, request: Request, answer: Answer) -> None:
        asked = request.asked
        if isinstance(asked, Heartbeat) and request.call == consumer.call:
            if isinstance(answer, HeartbeatReply):
                consumer.told(answer, request.sent_ms)
                consumer.look_at_clock(self.now_ms)
            elif isinstance(answer, LogdError) and answer.code in {
                ErrorCode.UNKNOWN_MEMBER,
                ErrorCode.FENCED_MEMBER_EPOCH,
                ErrorCode.FENCED_INSTANCE_ID,
            }:
                consumer.lose_everything()
        if isinstance(asked, FetchOffsets) and isinstance(answer, tuple):
            stored = [each for each in answer if isinstance(each, OffsetCommitted)]
            offsets = {
                TopicPartitionId(each.topic_id, each.partition): each.offset for each in stored
            }
            consumer.fetched(asked.member_epoch, offsets)

    def exchange(self, slot: int) -> None:
        """A member and the coordinator talk without trouble."""
        for say in (self.heartbeat, self.commit, self.give_up, self.heartbeat, self.fetch):
            said = self.calls
            say(slot)
            if self.calls > said:
                self.arrive(len(self.requests) - 1)
                self.commit_log(everything=True)
                self.come_back(len(self.responses) - 1)
        self.deliver_records(slot)

    # --- what must be so -------------------------------------------------------------------------

    def check(self) -> None:
        holders: dict[TopicPartitionId, str] = {}
        for consumer in self.consumers.values():
            for partition in consumer.working_on(self.now_ms):
                other = holders.setdefault(partition, consumer.member_id)
                assert other == consumer.member_id, f"{partition}: {other}, {consumer.member_id}"
        for partition, offset in self.oracle.offsets.items():
            assert offset <= self.delivered.get(partition, 0), f"{partition}: a gap below {offset}"
        assert self.oracle.holders == self.groups.assigned(GROUP)

    def calm_down(self) -> None:
        """Faults end. Soon all that are there have what they shall have, and go on with it."""
        self.requests.clear()
        self.responses.clear()
        for slot in SLOTS:
            self.thaw(slot)
        for _ in range((SESSION_MS + REBALANCE_MS) // STEP_MS + 12):
            self.calm_round()
        before = dict(self.oracle.offsets)
        self.calm_round()
        self.check_arrived()
        read = {
            each
            for consumer in self.consumers.values()
            for each in consumer.delivering(self.now_ms)
        }
        assert all(self.oracle.offsets[each] > before[each] for each in read)

    def calm_round(self) -> None:
        self.pass_time(STEP_MS)
        self.tick()
        for slot in sorted(self.consumers):
            self.exchange(slot)
        self.check()

    def check_arrived(self) -> None:
        described = {each.member_id for each in self.members()}
        assert described == {each.member_id for each in self.consumers.values()}
        names = {name for each in self.consumers.values() for name in each.topics}
        wanted = {
            TopicPartitionId(view.topic_id, number)
            for name, view in self.topics().items()
            if name in names
            for number in range(view.partitions)
        }
        assert self.oracle.holders.keys() == wanted
        for consumer in self.consumers.values():
            target = next(e.target for e in self.members() if e.member_id == consumer.member_id)
            assert consumer.delivering(self.now_ms) == target
        assert not self.consumers or self.groups.describe(GROUP, 0).state == "stable"
        if len({each.topics for each in self.consumers.values()}) == 1:
            loads = [len(each.held) for each in self.consumers.values()]
            assert max(loads) - min(loads) <= 1

    def members(self) -> tuple[MemberDescription, ...]:
        known = {each.group_id for each in self.groups.listing()}
        return self.groups.describe(GROUP, self.now_ms).members if GROUP in known else ()
