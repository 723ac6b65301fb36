"""Looks at every change of leaders, replicas and sets that some node has learned of.

* moved-away-early: replicas that held everything left a partition, and fewer than
  min.insync.replicas of those that stay were in sync.
* damaged-counts: a replica that may lack what it acknowledged is in sync, or eligible.
"""

from __future__ import annotations

from logd.metadata import PartitionImage
from logd.model.ids import TopicPartitionId
from tests.sim.coverage import Sometimes
from tests.sim.replicas.faults import age_of
from tests.sim.replicas.watch import MIN_ISR


class Changes:
    """What is known last of each partition."""

    def __init__(self, sometimes: Sometimes) -> None:
        self._sometimes = sometimes
        self._known: dict[TopicPartitionId, PartitionImage] = {}
        self.violations: list[str] = []

    def note(self, partition: TopicPartitionId, state: PartitionImage) -> None:
        """Some node has this state."""
        before = self._known.setdefault(partition, state)
        if age_of(state) <= age_of(before):
            return
        self._known[partition] = state
        if {*state.damaged}.intersection((*state.isr, *state.eligible)):
            self.violations.append(f"damaged-counts: {partition}, {state}")
        if state.leader_epoch > before.leader_epoch:
            self._sometimes("leadership moved")
            if len(before.isr) == 1 and before.eligible:
                self._sometimes("eligible replica elected")
        if len(state.isr) > len(before.isr):
            self._sometimes("in-sync set grown")
        if len(state.isr) < len(before.isr):
            self._sometimes("in-sync set shrunk")
        if not {*state.replicas} <= {*before.replicas}:
            self._sometimes("replica moved in")
        left = {*before.replicas}.difference(state.replicas)
        if left:
            self._sometimes("replica moved away")
        # Between states that do not follow each other the sets may have been others.
        follows = state.partition_epoch == before.partition_epoch + 1
        holders = {*before.isr, *before.eligible}
        enough = min(MIN_ISR, len(state.replicas))
        if follows and left & holders and len(state.isr) < enough:
            self.violations.append(f"moved-away-early: {partition}, {before} became {state}")
