"""The synchronous admin client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from logd_client._administering import directory_bytes, new_life, trim_points
from logd_client._config import options_from
from logd_client._engine.group_admin import Place
from logd_client._runtime import Environment
from logd_client.group_values import GroupDescription, GroupInfo, GroupLag, OffsetChange
from logd_client.values import (
    ClusterInfo,
    CompactedPartition,
    ConfigEntry,
    PartitionInfo,
    QuorumInfo,
    RaftLogPage,
    TopicInfo,
    TopicPartition,
)


class Admin:
    """Creates, changes and describes topics. Every call returns when its effect is visible, or
    raises. Nothing happens before the first call. `request_timeout_ms` bounds each call."""

    _environment: ClassVar[Environment] = Environment()

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str] = "localhost:7171",
        *,
        client_id: str | None = None,
        request_timeout_ms: float = 30_000,
    ) -> None:
        self._life = new_life(self._environment, bootstrap_servers, client_id, request_timeout_ms)

    @classmethod
    def from_config(cls, conf: Mapping[str, Any]) -> Self:
        """Make one from Kafka's dotted names, such as `{"bootstrap.servers": "localhost:7171"}`."""
        return cls(**options_from("Admin", conf))

    def create_topic(
        self,
        name: str,
        *,
        partitions: int | None = None,
        replication_factor: int = -1,
        config: Mapping[str, str] | None = None,
        exist_ok: bool = False,
        validate_only: bool = False,
    ) -> TopicInfo:
        """Create a topic. Raises TopicExistsError unless `exist_ok`, InvalidTopicNameError,
        InvalidConfigError.

        `partitions` None and `replication_factor` -1 are the cluster's defaults; `config` has
        Kafka's names; `validate_only` checks and creates nothing.
        """
        engine = self._life.use()
        call = engine.create_topic(
            name,
            partitions=partitions or 0,
            replication_factor=replication_factor,
            config=config or {},
            exist_ok=exist_ok,
            validate_only=validate_only,
        )
        return self._life.run(call, "create_topic")

    def list_topics(self, *, include_internal: bool = False) -> list[TopicInfo]:
        """Every topic, by name."""
        call = self._life.use().describe_topics((), include_internal=include_internal)
        return self._life.run(call, "list_topics")

    def describe_topic(self, name: str, *, copies: bool = False) -> TopicInfo:
        """One topic in full, `copies`: with what every replica says. Raises UnknownTopicError."""
        return self.describe_topics([name], copies=copies)[0]

    def describe_topics(self, names: Iterable[str], *, copies: bool = False) -> list[TopicInfo]:
        """Topics in the order of `names`. Raises UnknownTopicError for the first missing one."""
        wanted = list(names)
        if not wanted:
            return []
        call = self._life.use().describe_topics(wanted, copies=copies)
        return self._life.run(call, "describe_topics")

    def alter_topic(
        self,
        name: str,
        *,
        set_config: Mapping[str, str] | None = None,
        delete_config: Iterable[str] = (),
        partitions: int | None = None,
        validate_only: bool = False,
    ) -> TopicInfo:
        """Change configuration, add partitions (`partitions` is the new total), or both."""
        call = self._life.use().alter_topic(
            name,
            set_config=set_config or {},
            delete_config=delete_config,
            partitions=partitions or 0,
            validate_only=validate_only,
        )
        return self._life.run(call, "alter_topic")

    def alter_topic_config(
        self, name: str, config: Mapping[str, str | None], *, validate_only: bool = False
    ) -> TopicInfo:
        """Set configuration; None gives a key back to its default."""
        return self.alter_topic(
            name,
            set_config={key: value for key, value in config.items() if value is not None},
            delete_config=[key for key, value in config.items() if value is None],
            validate_only=validate_only,
        )

    def add_partitions(self, name: str, total: int) -> TopicInfo:
        """Grow a topic to `total` partitions. Keys may move to other partitions."""
        return self.alter_topic(name, partitions=total)

    def delete_topic(self, name: str) -> None:
        """Delete a topic with all its records. Raises UnknownTopicError."""
        self._life.run(self._life.use().delete_topic(name), "delete_topic")

    def delete_records(self, name: str, before: Mapping[int, int]) -> dict[int, int]:
        """Make what lies before an offset unreadable; {partition: first offset to keep}, -1: the
        end. Returns each partition's first offset afterwards."""
        call = self._life.use().delete_records(name, trim_points(before))
        return self._life.run(call, "delete_records")

    def compact_topic(
        self, name: str, partitions: Iterable[int] = (), *, now: bool = False, wait: bool = False
    ) -> dict[int, CompactedPartition]:
        """Compact every copy of partitions (none named: all) whatever their dirty share. `now`:
        with what is in the segments that are written to; `wait` until nothing is left to do."""
        call = self._life.use().compact_topic(name, partitions, now=now, wait=wait)
        return self._life.run(call, "compact_topic")

    def describe_cluster(self) -> ClusterInfo:
        """Identity, nodes, controller."""
        return self._life.run(self._life.use().describe_cluster(), "describe_cluster")

    def describe_quorum(self, node_id: int | None = None) -> QuorumInfo:
        """One node's part in the metadata quorum; None: of any node that answers."""
        call = self._life.use().describe_quorum(node_id)
        return self._life.run(call, "describe_quorum")

    def read_raft_log(
        self, start: int = 0, *, max_entries: int = 100, node_id: int | None = None
    ) -> RaftLogPage:
        """Entries of one node's metadata log, from the index `start` on, in words. What lies below
        its snapshot is gone: `first_index` says where the log begins."""
        call = self._life.use().read_raft_log(start, max_entries, node_id)
        return self._life.run(call, "read_raft_log")

    def add_node(self, node_id: int) -> list[int]:
        """Make a registered node a voter; returns the voters. May be repeated. A retriable error
        says that it has to catch up first."""
        call = self._life.use().add_node(node_id)
        return self._life.run(call, "add_node")

    def remove_node(self, node_id: int, *, directory_id: str = "") -> list[int]:
        """Take a node out of the cluster for good; returns the voters that are left.

        `directory_id` (see `describe_cluster`) says which of the node's data directories is meant,
        so that the call may be repeated without removing one that came later."""
        call = self._life.use().remove_node(node_id, directory_bytes(directory_id))
        return self._life.run(call, "remove_node")

    def replace_node(
        self, node_id: int, *, directory_id: str = "", accept_data_loss: bool = False
    ) -> list[int]:
        """Strike out a node's lost data directory, so that the node may come back with an empty
        one; returns the voters that are left. `directory_id` as with `remove_node`.

        `accept_data_loss`: also where that directory held the only full copy of a partition."""
        call = self._life.use().replace_node(
            node_id, directory_bytes(directory_id), accept_data_loss=accept_data_loss
        )
        return self._life.run(call, "replace_node")

    def transfer_leader(self, name: str, partition: int, node_id: int) -> PartitionInfo:
        """Let another replica lead a partition, one that is in sync; returns who leads and who is
        in sync afterwards, without offsets and sizes. May be repeated. Leaderships go back to the
        preferred leader, the first replica, after some minutes."""
        call = self._life.use().transfer_leader(name, partition, node_id)
        return self._life.run(call, "transfer_leader")

    def reassign_partitions(
        self, targets: Mapping[tuple[str, int], Sequence[int] | None]
    ) -> dict[tuple[str, int], PartitionInfo]:
        """Move replicas to other nodes: {(topic, partition): node ids, preferred leader first};
        None: back to where they were before a reassignment that is going on. Returns when that is
        decided; copying goes on, and `list_reassignments` shows how far it is. May be repeated.
        Raises the first partition's error after all were tried."""
        call = self._life.use().reassign_partitions(targets)
        return self._life.run(call, "reassign_partitions")

    def list_reassignments(self) -> dict[tuple[str, int], PartitionInfo]:
        """Every partition whose replicas are moving, by (topic, partition)."""
        call = self._life.use().list_reassignments()
        return self._life.run(call, "list_reassignments")

    def list_groups(self) -> list[GroupInfo]:
        """Every consumer group, by id."""
        return self._life.run(self._life.use().groups.list_groups(), "list_groups")

    def describe_group(self, group_id: str) -> GroupDescription:
        """Members, assignments and state of a group. Raises GroupNotFoundError."""
        return self._life.run(self._life.use().groups.describe_group(group_id), "describe_group")

    def group_lag(self, group_id: str) -> list[GroupLag]:
        """How far a group is behind, in records and in time, by topic and partition. Raises
        GroupNotFoundError."""
        return self._life.run(self._life.use().groups.group_lag(group_id), "group_lag")

    def group_offsets(self, group_id: str) -> dict[TopicPartition, int]:
        """What a group has committed: the next offset to read of each partition."""
        return self._life.run(self._life.use().groups.committed(group_id), "group_offsets")

    def alter_group_offsets(
        self,
        group_id: str,
        to: Place | None = None,
        *,
        shift: int | None = None,
        topics: Iterable[str] = (),
        dry_run: bool = True,
    ) -> list[OffsetChange]:
        """Move a group that has no members; tells what changes, and changes it unless `dry_run`.

        `to` is `Offset.BEGINNING`, `Offset.END`, the first records at or after a datetime, or
        offsets by partition; `shift` moves what is committed by so many records, within what the
        log has. `topics` none: those where something is committed. Raises GroupNotFoundError when
        that is nowhere, GroupNotEmptyError, UnknownTopicError, OffsetOutOfRangeError."""
        call = self._life.use().groups.alter_offsets(
            group_id, to, shift=shift, topics=topics, dry_run=dry_run
        )
        return self._life.run(call, "alter_group_offsets")

    def delete_group_offsets(self, group_id: str, partitions: Iterable[TopicPartition]) -> None:
        """Forget committed offsets. Raises GroupNotEmptyError for topics that members read."""
        call = self._life.use().groups.delete_offsets(group_id, partitions)
        self._life.run(call, "delete_group_offsets")

    def delete_group(self, group_id: str) -> None:
        """Forget a group without members, with its offsets. Raises GroupNotFoundError,
        GroupNotEmptyError."""
        self._life.run(self._life.use().groups.delete_group(group_id), "delete_group")

    def describe_configs(self) -> list[ConfigEntry]:
        """Configuration of the node that answers, each value with its source."""
        return self._life.run(self._life.use().describe_configs(), "describe_configs")

    def close(self) -> None:
        """Close the connections. Idempotent."""
        engine = self._life.end()
        if engine is not None:
            self._life.run(engine.close(), "closing the admin client")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        life = getattr(self, "_life", None)
        if life is not None:
            life.dropped()
