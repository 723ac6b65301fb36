"""A cluster that comes and goes, and whether anything that was acknowledged is ever lost.

The model knows how much of each partition every disk holds, and plays the part of the leaders: a
record is acknowledged when the leader and everybody in sync have it, and there are enough of them.
The machine under test decides who that is. Proposals of leaders arrive late, twice or never;
processes stop and start; disks are lost; the leader of the metadata log changes and forgets what
was not committed; images go through their snapshots.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from logd_wire.errors import LogdError

from logd.metadata import (
    AddVoter,
    AlterTopic,
    BalanceLeaders,
    ChangePartition,
    ClusterImage,
    Command,
    CreateTopic,
    DeleteTopic,
    ElectLeaders,
    FenceNode,
    FormCluster,
    InconsistentLogError,
    Member,
    MetadataMachine,
    MetadataRecord,
    MetadataSettings,
    NodeRemoval,
    PartitionChanges,
    PartitionImage,
    ReassignPartition,
    RegisterNode,
    RemoveNode,
    ReplaceNode,
    Reply,
    ReportDamage,
    UnfenceNode,
    UpdateVoter,
    find_problems,
    image_records,
    replay,
)
from logd.metadata.elections import is_last
from logd.metadata.records import PartitionChanged, VotersChanged
from logd.model.ids import NO_NODE, DirectoryId, NodeId, TopicId, TopicPartitionId
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record
from tests.unit.metadata.disks import Disk, id_of
from tests.unit.metadata.samples import CLUSTER, NOW_MS

NODES = [NodeId(number) for number in (1, 2, 3, 4)]
node_ids = st.sampled_from(NODES)


class ControllerOfAModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.serial = 0
        self.log: list[MetadataRecord] = []
        self.committed = ClusterImage()
        self.base = ClusterImage()
        self.disks = {node_id: Disk(self.number()) for node_id in NODES}
        self.acknowledged: dict[TopicPartitionId, int] = {}
        #: What leaders have proposed and do not know the outcome of.
        self.open: list[ChangePartition] = []
        #: Copies of it that are on their way.
        self.proposals: list[ChangePartition] = []
        #: Which process led in which epoch, for ever.
        self.led: dict[tuple[TopicPartitionId, int], tuple[int, int]] = {}

    @initialize(most=st.sampled_from([2, 1_000]))
    def begin(self, most: int) -> None:
        self.settings = MetadataSettings(changes_per_entry_max=most)
        self.machine = MetadataMachine(self.settings)
        self.do(FormCluster(CLUSTER))
        for node_id in (1, 2, 3):
            self.start(NodeId(node_id))
            self.let_in(NodeId(node_id))
            self.do(AddVoter(NodeId(node_id)))
        for least in (1, 2, 2):
            topic_id = TopicId(id_of(self.number()))
            config = {"min.insync.replicas": str(least)}
            self.do(CreateTopic(topic_id, f"t{self.serial}", 0, 3, config))
        self.commit()

    def number(self) -> int:
        self.serial += 1
        return self.serial

    def do(self, command: Command) -> Reply | None:
        """Decide and replay; None when it is refused. Both leave the image sound."""
        before = self.machine.image
        try:
            outcome = self.machine.handle(command, NOW_MS)
        except LogdError as error:
            assert not isinstance(error, InconsistentLogError), "refused by replay alone"
            assert self.machine.image is before
            return None
        assert self.machine.image is before
        self.take(outcome.records)
        return outcome.reply

    def take(self, records: tuple[MetadataRecord, ...]) -> None:
        if any(isinstance(record, VotersChanged) for record in records):
            assert len(records) == 1, "alone in its entry"
        for record in records:
            if isinstance(record, PartitionChanged):
                self.check_step(record)
            self.machine.replay(record)
        self.log.extend(records)

    def check_step(self, record: PartitionChanged) -> None:
        before = self.machine.image.topic(record.topic_id).partition(record.state.partition)
        after = record.state
        assert after.partition_epoch == before.partition_epoch + 1
        self.check_replicas(record.topic_id, before, after)
        assert (after.leader_epoch > before.leader_epoch) is (after.leader_id != before.leader_id)

    def check_replicas(
        self, topic_id: TopicId, before: PartitionImage, after: PartitionImage
    ) -> None:
        """No replica comes in sync by being named, and none that holds what was acknowledged goes
        before enough of those that stay do."""
        assert {*after.isr, *after.eligible} <= {*before.replicas}
        gone = {*before.isr, *before.eligible}.difference(after.replicas)
        if gone:
            least = self.settings.min_insync_replicas(self.machine.image.topic(topic_id))
            assert len(after.isr) >= min(least, len(after.replicas)) > 0, (before, after)
            assert not after.target

    def states(self, image: ClusterImage) -> dict[TopicPartitionId, PartitionImage]:
        return {
            TopicPartitionId(topic.topic_id, state.partition): state
            for topic in image.topics_by_name()
            for state in topic.partitions
        }

    def holds(self, node_id: NodeId, partition: TopicPartitionId) -> int:
        return self.disks[node_id].holds.get(partition, 0)

    # --- nodes -----------------------------------------------------------------------------------

    @rule(node_id=node_ids, at_once=st.booleans())
    def start_and_follow(self, node_id: NodeId, at_once: bool) -> None:
        """A process starts, or starts again; it may soon have caught up with the log."""
        self.start(node_id)
        if at_once:
            self.let_in(node_id)

    def start(self, node_id: NodeId) -> None:
        self.disks[node_id].incarnation = self.number()
        self.register(node_id)

    def register(self, node_id: NodeId) -> None:
        disk = self.disks[node_id]
        if disk.incarnation is not None:
            directory_id = DirectoryId(id_of(disk.directory))
            incarnation_id = id_of(disk.incarnation)
            address = f"node{node_id}:1"
            rack = "ab"[node_id % 2]
            self.do(RegisterNode(node_id, directory_id, incarnation_id, address, rack, address))

    @rule(node_id=node_ids)
    def let_in(self, node_id: NodeId) -> None:
        """Its heartbeats arrive, it has caught up with the log and told of what is damaged."""
        disk = self.disks[node_id]
        if disk.incarnation is not None:
            self.register(node_id)
            self.do(ReportDamage(node_id, id_of(disk.incarnation), tuple(disk.damaged)))
            self.do(UnfenceNode(node_id, id_of(disk.incarnation)))

    @rule()
    def everybody_is_back(self) -> None:
        for node_id in NODES:
            if self.disks[node_id].incarnation is None:
                self.start(node_id)
            for _ in range(3):
                self.let_in(node_id)
        self.commit()

    @rule(node_id=node_ids)
    def stop(self, node_id: NodeId) -> None:
        self.disks[node_id].incarnation = None

    @rule(node_ids=st.lists(node_ids, min_size=1, max_size=3, unique=True))
    def lose_sessions(self, node_ids: list[NodeId]) -> None:
        """With a reason or without."""
        for node_id in node_ids:
            node = self.machine.image.nodes.get(node_id)
            if node is not None:
                self.do(FenceNode(node_id, node.incarnation_id))

    @rule(node_id=node_ids, incarnation=st.integers(1, 40))
    def a_late_decision_about_a_process(self, node_id: NodeId, incarnation: int) -> None:
        current = self.disks[node_id].incarnation
        if incarnation != current:
            self.do(UnfenceNode(node_id, id_of(incarnation)))

    @precondition(lambda self: not any(self.is_lost(self.committed, node) for node in NODES))
    @rule(node_id=node_ids)
    def lose_disk(self, node_id: NodeId) -> None:
        """The data is gone; who starts on the empty folder is refused until it is replaced."""
        self.disks[node_id] = Disk(self.number())

    @rule(node_id=node_ids, data=st.data())
    def find_damage(self, node_id: NodeId, data: st.DataObject) -> None:
        """A log is damaged where others have a copy; the next process of the node will see it."""
        for partition, state in self.states(self.committed).items():
            if len(state.replicas) > 1 and data.draw(st.booleans()):
                self.disks[node_id].incarnation = None
                self.disks[node_id].holds[partition] = 0
                self.disks[node_id].damaged[partition] = None

    @rule(node_id=node_ids, accept=st.booleans())
    def replace(self, node_id: NodeId, accept: bool) -> None:
        node = self.machine.image.nodes.get(node_id)
        if node is None or node.directory_id == id_of(self.disks[node_id].directory):
            # Nobody strikes out a folder that is well, or the loss is not the machine's.
            return
        before = self.states(self.machine.image)
        self.do(ReplaceNode(node_id, node.directory_id, accept))
        if accept:
            self.accept_losses(node_id, before)

    def accept_losses(
        self, node_id: NodeId, before: dict[TopicPartitionId, PartitionImage]
    ) -> None:
        """Where nobody else had everything, what is left is what counts from here on."""
        for partition, state in self.states(self.machine.image).items():
            if partition in before and is_last(before[partition], node_id):
                left = [self.holds(holder, partition) for holder in (*state.isr, *state.eligible)]
                self.acknowledged[partition] = min(left)

    @rule(node_id=node_ids)
    def remove(self, node_id: NodeId) -> None:
        reply = self.do(RemoveNode(node_id))
        if isinstance(reply, NodeRemoval) and reply.done:
            self.disks[node_id] = Disk(self.number())

    @precondition(lambda self: self.machine.image.removed)
    @rule(data=st.data(), node_id=node_ids)
    def a_removed_folder_turns_up(self, data: st.DataObject, node_id: NodeId) -> None:
        directory_id = data.draw(st.sampled_from(sorted(self.machine.image.removed)))
        command = RegisterNode(node_id, directory_id, id_of(self.number()), "a:1")
        assert self.do(command) is None

    @rule(node_id=node_ids, update=st.booleans())
    def vote(self, node_id: NodeId, update: bool) -> None:
        self.do(UpdateVoter(node_id) if update else AddVoter(node_id))

    # --- topics ----------------------------------------------------------------------------------

    @rule(replicas=st.integers(1, 3), least=st.integers(1, 3))
    def create(self, replicas: int, least: int) -> None:
        if len(self.machine.image.topics) < 3:
            topic_id = TopicId(id_of(self.number()))
            config = {"min.insync.replicas": str(min(least, replicas))}
            self.do(CreateTopic(topic_id, f"t{self.serial}", 0, replicas, config))

    @precondition(lambda self: self.machine.image.topics)
    @rule(data=st.data(), least=st.integers(1, 3))
    def another_least_number(self, data: st.DataObject, least: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.machine.image.topic_ids)))
        self.do(AlterTopic(name, {"min.insync.replicas": str(least)}))

    @precondition(lambda self: len(self.machine.image.topics) > 1)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.do(DeleteTopic(data.draw(st.sampled_from(sorted(self.machine.image.topic_ids)))))

    @precondition(lambda self: self.machine.image.topics)
    @rule(data=st.data(), nodes=st.lists(node_ids, max_size=3, unique=True))
    def reassign(self, data: st.DataObject, nodes: list[NodeId]) -> None:
        """No nodes: back to where the replicas were."""
        name = data.draw(st.sampled_from(sorted(self.machine.image.topic_ids)))
        topic_id = self.machine.image.topic_ids[name]
        self.do(ReassignPartition(topic_id, 0, tuple(nodes) or None))

    # --- leaders, as the model plays them ---------------------------------------------------------

    @rule(commit=st.booleans())
    def produce(self, commit: bool) -> None:
        """Each leader has a record, everybody in sync follows, and it is acknowledged.

        The leader goes by what is committed. Who is proposed counts at once; who left counts until
        that is committed.
        """
        if commit:
            self.commit()
        for partition, state in self.states(self.committed).items():
            self.acknowledge(partition, state)

    def acknowledge(self, partition: TopicPartitionId, state: PartitionImage) -> None:
        topic = self.committed.topic(partition.topic_id)
        if state.leader_id == NO_NODE or len(state.isr) < int(topic.config["min.insync.replicas"]):
            return
        needed = {*state.isr, *self.on_their_way(partition, state)}
        if all(self.runs_as_known(node_id) for node_id in needed):
            everything = self.acknowledged.get(partition, 0) + 1
            self.acknowledged[partition] = everything
            for node_id in needed:
                self.disks[node_id].holds[partition] = everything

    def on_their_way(self, partition: TopicPartitionId, state: PartitionImage) -> set[NodeId]:
        return {
            member.node_id
            for proposal in self.open
            if (proposal.topic_id, proposal.partition) == partition
            and proposal.leader_epoch == state.leader_epoch
            and proposal.partition_epoch == state.partition_epoch
            for member in proposal.isr
        }

    def runs_as_known(self, node_id: NodeId) -> bool:
        """Whether the process runs that is registered, and its session is not over."""
        node, incarnation = self.committed.nodes.get(node_id), self.disks[node_id].incarnation
        return (
            node is not None
            and incarnation is not None
            and node.incarnation_id == id_of(incarnation)
            and not node.fenced
        )

    @precondition(lambda self: self.states(self.committed))
    @rule(data=st.data(), wanted=st.sets(node_ids, min_size=2), late=st.booleans())
    def propose(self, data: st.DataObject, wanted: set[NodeId], late: bool) -> None:
        """Followers catch up, and the leader counts them in; who it does not want is out."""
        self.propose_for(
            data.draw(st.sampled_from(sorted(self.states(self.committed)))), wanted, late
        )

    @rule(out=node_ids)
    def a_proposal_is_overtaken(self, out: NodeId) -> None:
        """Everybody is to be in sync; then one of them is not, and that is known first."""
        for partition in self.states(self.committed):
            self.propose_for(partition, {*NODES}, late=True)
            self.propose_for(partition, {*NODES} - {out}, late=False)
        self.produce(commit=True)

    def propose_for(self, partition: TopicPartitionId, wanted: set[NodeId], late: bool) -> None:
        state = self.states(self.committed)[partition]
        if state.leader_id == NO_NODE or not self.runs_as_known(state.leader_id):
            return
        members = []
        for node_id in state.replicas:
            if node_id == state.leader_id or (node_id in wanted and self.runs_as_known(node_id)):
                self.disks[node_id].holds[partition] = self.holds(state.leader_id, partition)
                members.append(Member(node_id, self.committed.nodes[node_id].node_epoch))
        leader = Member(state.leader_id, self.committed.nodes[state.leader_id].node_epoch)
        proposal = ChangePartition(
            partition.topic_id,
            partition.partition,
            leader,
            state.leader_epoch,
            state.partition_epoch,
            tuple(members),
        )
        self.open.append(proposal)
        if late:
            self.proposals.append(proposal)
        else:
            self.arrive(proposal)

    @precondition(lambda self: self.proposals)
    @rule(data=st.data(), again=st.booleans())
    def a_proposal_arrives(self, data: st.DataObject, again: bool) -> None:
        number = data.draw(st.integers(0, len(self.proposals) - 1))
        self.arrive(self.proposals[number] if again else self.proposals.pop(number))

    def arrive(self, proposal: ChangePartition) -> None:
        """A refusal is known at once; only when no copy is left that could be taken up yet, the
        leader counts on it no longer. All else is known when it is committed."""
        if self.do(proposal) is None and proposal not in self.proposals:
            self.open = [other for other in self.open if other != proposal]

    # --- the leader of the metadata log ----------------------------------------------------------

    @rule(balance=st.booleans())
    def look_after_leaders(self, balance: bool) -> None:
        reply = self.do(BalanceLeaders() if balance else ElectLeaders())
        assert isinstance(reply, PartitionChanges)
        assert reply.count <= self.settings.changes_per_entry_max
        assert not reply.more or reply.count == self.settings.changes_per_entry_max

    @rule()
    def commit(self) -> None:
        self.committed = self.machine.image
        for partition, state in self.states(self.committed).items():
            for node_id in {*NODES}.difference(state.replicas):  # Its log is deleted.
                self.disks[node_id].holds.pop(partition, None)
            for node_id in {*NODES}.difference(state.isr, state.eligible):
                self.disks[node_id].damaged.pop(partition, None)

    @rule()
    def lose_leadership(self) -> None:
        self.machine.reset(self.committed)
        # Epochs that were never committed come again, and may then be another's.
        self.led = {key: who for key, who in self.led.items() if self.is_past(key)}

    def is_past(self, key: tuple[TopicPartitionId, int]) -> bool:
        state = self.states(self.committed).get(key[0])
        return state is not None and key[1] <= state.leader_epoch

    @rule()
    def restore_the_snapshot(self) -> None:
        stored = [encode_metadata_record(record) for record in image_records(self.machine.image)]
        image = replay(ClusterImage(), map(decode_metadata_record, stored))
        assert image == self.machine.image
        self.machine = MetadataMachine(self.settings, image)

    # --- what holds ------------------------------------------------------------------------------

    @invariant()
    def images_are_sound(self) -> None:
        assert find_problems(self.machine.image) == []
        assert find_problems(self.committed) == []

    @invariant()
    def everybody_who_counts_has_everything(self) -> None:
        for image in (self.committed, self.machine.image):
            for partition, state in self.states(image).items():
                everything = self.acknowledged.get(partition, 0)
                for node_id in (*state.isr, *state.eligible):
                    unknown = partition in self.disks[node_id].damaged
                    if not self.is_lost(image, node_id) and not unknown:
                        assert self.holds(node_id, partition) >= everything, (node_id, state)

    def is_lost(self, image: ClusterImage, node_id: NodeId) -> bool:
        """Whether the disk is gone and nobody has said so yet."""
        node = image.nodes.get(node_id)
        known = None if node is None else node.directory_id
        return known is not None and known != id_of(self.disks[node_id].directory)

    @invariant()
    def leaders_are_in_service_once_all_is_settled(self) -> None:
        image = self.machine.image
        if self.machine.handle(ElectLeaders(), NOW_MS).records:
            assert self.settings.changes_per_entry_max < 1_000, "one entry was enough"
            return
        for state in self.states(image).values():
            assert {*state.isr} <= image.nodes_in_service
            if state.leader_id == NO_NODE:
                assert not {*state.isr, *state.eligible} & image.nodes_in_service

    @invariant()
    def one_process_leads_in_one_epoch(self) -> None:
        image = self.machine.image
        for partition, state in self.states(image).items():
            node = image.nodes.get(state.leader_id)
            if node is not None and not node.fenced:
                who = (node.node_id, node.node_epoch)
                assert self.led.setdefault((partition, state.leader_epoch), who) == who

    @invariant()
    def removed_directories_stay_away(self) -> None:
        image = self.machine.image
        assert not {node.directory_id for node in image.nodes.values()} & set(image.removed)
        voters = [voter.node_id for voter in image.voters]
        assert voters, "somebody votes"


def test_the_model_is_worth_something() -> None:
    """It catches a leader that lacks something, put there by hand."""
    model = ControllerOfAModel()
    model.begin(1_000)
    (partition, state), *_ = model.states(model.machine.image).items()
    model.acknowledged[partition] = 1
    with pytest.raises(AssertionError):
        model.everybody_who_counts_has_everything()
    for node_id in state.isr:
        model.disks[node_id].holds[partition] = 1
    model.everybody_who_counts_has_everything()
    model.one_process_leads_in_one_epoch()
    model.led[partition, state.leader_epoch] = (state.leader_id, 99)
    with pytest.raises(AssertionError):
        model.one_process_leads_in_one_epoch()


TestControllerOfAModel = ControllerOfAModel.TestCase
TestControllerOfAModel.settings = settings(max_examples=300, stateful_step_count=50)


@pytest.mark.proof
def test_long_runs() -> None:
    run_state_machine_as_test(
        ControllerOfAModel, settings=settings(max_examples=500, stateful_step_count=300)
    )
