"""One partition on this node: the door for appends and for readers, led here or copied.

    follow(state) --led here-->  begin_epoch on the writer -> PartitionLeader: in-sync set,
                                 high watermark, acknowledgements
                  --led elsewhere, or by nobody-->  what waits is refused; a fetcher copies

What a leadership decides is in `logd.replication`; this joins it to the log and its callers. On
topics that do not sync before they acknowledge, written ends count where others say durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from logd_wire import BatchHeader
from logd_wire.errors import (
    DataLossError,
    ErrorCode,
    LogdError,
    NotEnoughReplicasError,
    NotLeaderError,
    OffsetNotAvailableError,
)

from logd.metadata import PartitionImage
from logd.model.ids import NO_NODE, NodeId, TopicPartitionId
from logd.model.settings import FlushMode
from logd.model.topic_config import TopicConfig
from logd.observe import Traffic
from logd.replication import (
    Assigned,
    Assignment,
    FollowerAt,
    FollowerGone,
    HighWatermarkMoved,
    LeaderEvent,
    OwnEnd,
    PartitionLeader,
    ProposalAnswered,
    ProposeIsr,
    Tick,
)
from logd.runtime.acknowledgements import Acknowledgements
from logd.runtime.batch_checks import check_batch, check_records
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.disk_operations import QueuedAppend
from logd.runtime.outcomes import ProduceOutcome
from logd.runtime.refusals import appended_then, not_led_here
from logd.storage import Appended, LogKey, LogView, PartitionLog


class ProposesIsr(Protocol):
    """Takes a leader's proposal to the controller."""

    def __call__(self, partition: Partition, proposal: ProposeIsr) -> None:
        """Answered by `partition.proposal_answered`, some time."""
        ...


class ReportsDamage(Protocol):
    """Tells the controller that a log is damaged here."""

    def __call__(self, partition: Partition, *, leads_on: bool = False) -> asyncio.Future[None]:
        """Done once the replica is in no set any more; `leads_on`: or nobody else can lead."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all partitions of a node share."""

    own_id: NodeId
    driver: DiskDriver
    #: No clock of this node is ahead of it: the bound of record times.
    latest_ms: Callable[[], int]
    monotonic_ms: Callable[[], int]
    lag_ms_max: int
    propose: ProposesIsr
    report_damage: ReportsDamage
    #: Whether the controller counts on this node.
    serving: Callable[[], bool]
    #: Called when this node has begun to lead a partition.
    led: Callable[[Partition], None]


class Partition:
    """Implements `WrittenLog` for one partition.

    `name` is "topic-partition", for messages only, and so is `topic`. What goes in and out is
    counted in `traffic`.
    """

    def __init__(
        self,
        *,
        key: TopicPartitionId,
        topic: str,
        log: PartitionLog,
        config: TopicConfig,
        high_watermark: int,
        around: Surroundings,
        traffic: Traffic,
    ) -> None:
        """`high_watermark`: as far as it is known from before; `follow` comes next."""
        self.id = key
        self.key: LogKey = (key.topic_id, key.partition)
        self.topic = topic
        self.name = f"{topic}-{key.partition}"
        self.log = log
        self._around = around
        self._driver = around.driver
        #: End of what is committed, and readable by consumers.
        self.high_watermark = min(high_watermark, log.view.written_end_offset)
        log.cleaning.assume_forgotten(self.high_watermark)
        self._told_replicated_end = 0
        self._leader: PartitionLeader | None = None
        self._must_begin = False
        self._state: PartitionImage | None = None
        self.leader_epoch = -1
        self._node_epochs: Mapping[NodeId, int] = {}
        self._waiting = Acknowledgements()
        self.traffic = traffic
        self.min_isr = config.min_insync_replicas
        self.reconfigure(config)
        #: Grows with every byte appended; fetch sessions compare it to know what is waiting.
        self.appended_bytes = 0
        # A dict keeps the order in which listeners came.
        self._listeners: dict[Callable[[], None], None] = {}

    def reconfigure(self, config: TopicConfig) -> None:
        """Take a new configuration but `min_isr`; the log itself is told by the writer."""
        self.config = config
        self.sync_before_ack = config.flush.mode is FlushMode.BATCH
        self._assign()

    @property
    def view(self) -> LogView:
        return self.log.view

    @property
    def state(self) -> PartitionImage:
        """As it was committed."""
        assert self._state is not None, "follow comes first"
        return self._state

    @property
    def own_end(self) -> int:
        """End of what counts as kept here: durable, or written where the topic says so."""
        view = self.log.view
        return view.durable_end_offset if self.sync_before_ack else view.written_end_offset

    @property
    def removal_limit(self) -> int:
        """Retention and trimming take nothing at or above it: what is not committed may yet be cut,
        and was read by nobody. Only the leader moves the start of a log."""
        return self.high_watermark if self.is_led_here else self.view.start_offset

    @property
    def replicated_end(self) -> int:
        """Every replica has what lies below, and it is committed: a delete that one of them missed
        is not forgotten. A leader knows, others know what it told; nothing at first."""
        leader = self._leader
        end_offset = self._told_replicated_end if leader is None else leader.replicated_end
        return max(min(end_offset, self.high_watermark), self.view.start_offset)

    @property
    def forgotten_end(self) -> int:
        """Below it, deletes may be missing from this log."""
        return self.log.cleaning.state.forgotten_end

    def check_led_here(self) -> None:
        """Raise NotLeaderError where another node leads, or nobody."""
        if not self.is_led_here:
            raise self._moved()

    # --- leadership --------------------------------------------------------------------------

    @property
    def is_led_here(self) -> bool:
        """Whether this node leads, though it may not have begun to."""
        return self._state is not None and self._state.leader_id == self._around.own_id

    def leads(self, leader_epoch: int) -> bool:
        """Whether this node leads in that epoch, and has begun to."""
        return self._leader is not None and self.leader_epoch == leader_epoch

    def may_begin_to_lead(self, leader_epoch: int) -> bool:
        """Whether this node may yet lead in that epoch: it is about to, or has not heard of it."""
        if leader_epoch == self.leader_epoch:
            return self.is_led_here and self._leader is None
        return leader_epoch > self.leader_epoch

    def follow(
        self, state: PartitionImage, node_epochs: Mapping[NodeId, int], min_isr: int | None = None
    ) -> None:
        """Take over who leads, who is in sync, which nodes are in service as which process, and
        min.insync.replicas; None: it is as before."""
        before, self._state = self._state, state
        self._node_epochs = node_epochs
        if min_isr is not None:
            self.min_isr = min_isr
        if before is None or (before.leader_epoch, before.replicas) != (
            state.leader_epoch,
            state.replicas,
        ):
            self._told_replicated_end = 0
        if before is None and state.replicas == (self._around.own_id,):
            # What the only replica has kept was acknowledged, or may have been.
            self.high_watermark = self.own_end
        if before is not None and before.leader_epoch == state.leader_epoch:
            self._assign()
            return
        self.leader_epoch = state.leader_epoch
        self._leader = None
        self._must_begin = False
        self._waiting.fail(appended_then(str(self._moved())))
        if self.is_led_here:
            self._begin_to_lead()
        self._notify()

    @property
    def must_report(self) -> bool:
        """Whether the log is damaged, and other replicas may have what it lacks."""
        return bool(self.view.damage) and len(self.state.replicas) > 1

    def hand_over_damage(self) -> bool:
        """Have another replica lead that holds what is damaged here. False: nothing is damaged, or
        nobody else is in sync: what is intact is served on."""
        others = (node for node in self.state.isr if node != self._around.own_id)
        if self._leader is None or not self.must_report:
            return False
        if not any(node in self._node_epochs for node in others):
            return False
        # Copied anew once another one leads. In sync by what is known here, it may not be any more.
        self._around.report_damage(self, leads_on=True)
        return True

    def _begin_to_lead(self) -> None:
        self._must_begin = self.must_report
        if self._must_begin:
            # Nobody may copy from it. The controller lets another one lead, or nobody.
            self._around.report_damage(self)
            return
        leader_epoch = self.leader_epoch
        began = self._driver.call(lambda: self._begin(leader_epoch), self, sync=True, apart=True)
        began.add_done_callback(lambda done: self._lead(leader_epoch, done))

    def _begin(self, leader_epoch: int) -> int:
        """On the writer: everything after this is of the new epoch. Returns where it begins."""
        self.log.begin_epoch(leader_epoch)
        return self.log.view.written_end_offset

    def _lead(self, leader_epoch: int, began: asyncio.Future[int]) -> None:
        if began.cancelled():
            return
        failure = began.exception()
        if leader_epoch != self.leader_epoch:
            return
        if failure is not None:
            # A full disk, or a node that is about to stop: nothing is led without its epoch.
            self._must_begin = True
            return
        self._leader = PartitionLeader(
            self._around.own_id,
            self._assignment(),
            start_offset=began.result(),
            end_offset=self.own_end,
            high_watermark=min(self.high_watermark, self.own_end),
            lag_ms_max=self._around.lag_ms_max,
            now_ms=self._around.monotonic_ms(),
        )
        self._tell_leader(OwnEnd(self.own_end, self._around.monotonic_ms()))
        self._notify()
        self._around.led(self)

    def _assignment(self) -> Assignment:
        state = self.state
        return Assignment(
            leader_epoch=state.leader_epoch,
            partition_epoch=state.partition_epoch,
            replicas=state.replicas,
            isr=state.isr,
            node_epochs={
                node: self._node_epochs[node]
                for node in state.replicas
                if node in self._node_epochs
            },
            min_isr=self.min_isr,
        )

    def _assign(self) -> None:
        leader = self._leader
        if leader is None:
            return
        self._tell_leader(Assigned(self._assignment(), self._around.monotonic_ms()))
        if not leader.may_acknowledge:
            self._waiting.fail(self._too_few(after=True))

    def _tell_leader(self, event: LeaderEvent) -> None:
        leader = self._leader
        if leader is None:
            return
        for effect in leader.handle(event):
            match effect:
                case HighWatermarkMoved():
                    self._move_high_watermark(effect.offset)
                case ProposeIsr():
                    self._around.propose(self, effect)

    def _move_high_watermark(self, offset: int) -> None:
        self.high_watermark = offset
        self._waiting.release(offset)
        self._notify()

    def follower_at(self, node_id: NodeId, node_epoch: int, end_offset: int) -> None:
        """A follower has everything below `end_offset`, durably."""
        self._tell_leader(FollowerAt(node_id, node_epoch, end_offset, self._around.monotonic_ms()))

    def follower_gone(self, node_id: NodeId) -> None:
        """The stream of a follower ended."""
        self._tell_leader(FollowerGone(node_id, self._around.monotonic_ms()))

    def proposal_answered(self, partition_epoch: int, *, refused: bool) -> None:
        """The controller answered a proposal, or nobody did."""
        now_ms = self._around.monotonic_ms()
        self._tell_leader(ProposalAnswered(partition_epoch, refused, now_ms))

    def tick(self, now_ms: int) -> None:
        """Look whether a follower is out of time, or leadership could not begin before."""
        if not self._around.serving():
            self._stand_back()
        if self._must_begin:
            self._begin_to_lead()
        leader = self._leader
        if leader is None:
            return
        self.hand_over_damage()
        deadline_ms = leader.next_deadline_ms()
        if deadline_ms is not None and deadline_ms <= now_ms:
            self._tell_leader(Tick(now_ms))

    def _stand_back(self) -> None:
        """Another node may lead by now, and nobody who waits would hear of it here."""
        if self._leader is None or len(self.state.replicas) == 1:
            return
        self._waiting.fail(
            appended_then(
                f"{self.name} may be led by another node: this one has no contact to the cluster"
            )
        )
        # Readers are sent away too.
        self._notify()

    def followers_behind(self) -> list[tuple[NodeId, int]]:
        """Replicas that are not in sync, and where the log of each ends; -1: unknown."""
        return [] if self._leader is None else self._leader.followers_behind()

    # --- copying -----------------------------------------------------------------------------

    def learn_high_watermark(self, offset: int) -> None:
        """What the leader says is committed, of what is here."""
        self.high_watermark = offset

    def learn_replicated_end(self, offset: int) -> None:
        """What the leader says every replica has."""
        self._told_replicated_end = offset

    # --- appends -----------------------------------------------------------------------------

    def append(
        self, records: bytes, *, leader_epoch: int, acks: int
    ) -> asyncio.Future[ProduceOutcome]:
        """Check one encoded batch and queue it; raises LogdError when it is refused."""
        self.check_led_here()
        self.check_epoch(leader_epoch)
        if acks == -1 and len(self.state.isr) < self.min_isr:
            raise self._too_few(after=False)
        header = self._check(records)
        self.appended_bytes += len(records)
        return self._driver.append(self, records, header, self.leader_epoch, acks)

    def settle(self, queued: QueuedAppend, appended: Appended) -> None:
        future = queued.future
        if appended.duplicate:
            self.traffic.duplicates += 1
        else:
            records = appended.next_offset - appended.base_offset
            self.traffic.produced(records, len(queued.batch))
        if queued.leader_epoch != self.leader_epoch:
            future.set_exception(appended_then(str(self._moved())))
            return
        if queued.acks != -1:
            future.set_result(self._outcome(appended, 1))
            return
        outcome = self._outcome(appended, len(self.state.isr))
        if appended.next_offset <= self.high_watermark:
            future.set_result(outcome)
        elif len(self.state.isr) < self.min_isr:
            future.set_exception(self._too_few(after=True))
        else:
            self._waiting.wait(appended.next_offset, outcome, future)

    def _outcome(self, appended: Appended, replicas: int) -> ProduceOutcome:
        return ProduceOutcome(
            base_offset=appended.base_offset,
            leader_epoch=self.leader_epoch,
            append_time_ms=appended.append_time_ms,
            synced=self.sync_before_ack,
            replicas=replicas,
            log_start_offset=self.log.view.start_offset,
            duplicate=appended.duplicate,
        )

    def _moved(self) -> NotLeaderError:
        return not_led_here(self.name, self.state)

    def _too_few(self, *, after: bool) -> NotEnoughReplicasError:
        what = (
            "the batch was appended, but is not acknowledged: a replica went out of sync"
            if after
            else "nothing was appended"
        )
        return NotEnoughReplicasError(
            f"{self.name} has {len(self.state.isr)} replicas in sync, acks=all needs "
            f"{self.min_isr} (min.insync.replicas): {what}",
            code=ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND if after else None,
            hint="`logd cluster partitions --under-replicated` says why; it is tried again",
        )

    # --- readers -----------------------------------------------------------------------------

    @property
    def is_readable(self) -> bool:
        """Whether consumers may read here. The only copy serves also while nobody leads."""
        state = self.state
        return self.is_led_here or (state.leader_id == NO_NODE and len(state.replicas) == 1)

    def check_readable(self) -> None:
        """Refuse to read here what another node leads."""
        if not self.is_readable:
            raise self._moved()

    def read_failed(self, error: LogdError) -> LogdError:
        """What a reader is told: what is lost only here is read at the next leader."""
        if not isinstance(error, DataLossError) or not self.hand_over_damage():
            return error
        return NotLeaderError(
            f"{self.name} is given up by its leader, whose log is damaged: {error.message}",
            hint="refresh the metadata, then try again",
        )

    def check_latest(self) -> None:
        """Refuse to name the end of the log before this leadership knows what is committed."""
        if self.is_led_here and (self._leader is None or not self._leader.serves_latest):
            raise OffsetNotAvailableError(
                f"{self.name} has a new leader that does not know yet what is committed",
                hint="try again in a moment",
            )

    def check_epoch(self, leader_epoch: int) -> None:
        """Refuse a client that addresses another leadership than this one; -1: unchecked."""
        if leader_epoch in (-1, self.leader_epoch):
            return
        error = NotLeaderError(
            f"{self.name} is led in epoch {self.leader_epoch}, the request names {leader_epoch}",
            code=ErrorCode.FENCED_LEADER_EPOCH,
            hint="refresh the metadata",
        )
        error.leader_epoch = self.leader_epoch
        raise error

    def _check(self, records: bytes) -> BatchHeader:
        return check_batch(self.name, self.config, records, self._around.latest_ms())

    def check_records(self, batch: bytes) -> None:
        """Decode a batch where the topic wants that."""
        check_records(self.name, self.config, batch)

    def written(self) -> None:
        if self._leader is not None and len(self.state.replicas) > 1:
            self._notify()

    def published(self) -> None:
        if self._leader is not None:
            self._tell_leader(OwnEnd(self.own_end, self._around.monotonic_ms()))
        self._notify()

    def _notify(self) -> None:
        for listener in list(self._listeners):
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever there may be something new to read, or to be told."""
        self._listeners[listener] = None

    def unlisten(self, listener: Callable[[], None]) -> None:
        self._listeners.pop(listener, None)
