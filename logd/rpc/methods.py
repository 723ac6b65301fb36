"""The table of everything a node answers."""

from __future__ import annotations

from typing import Final

from logd_proto.v1 import admin_pb2, group_pb2, log_pb2

from logd.rpc.admin import AdminHandlers
from logd.rpc.api import Methods, StreamMethod, UnaryMethod
from logd.rpc.edge import Edge
from logd.rpc.fetch import FetchHandlers
from logd.rpc.group import GroupHandlers
from logd.rpc.handshake import HandshakeHandlers
from logd.rpc.offsets import OffsetHandlers
from logd.rpc.plain import PlainHandlers
from logd.rpc.produce import ProduceHandlers
from logd.rpc.quorum import QuorumHandlers

LOG_SERVICE: Final = log_pb2.DESCRIPTOR.services_by_name["Log"].full_name
ADMIN_SERVICE: Final = admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name
GROUP_SERVICE: Final = group_pb2.DESCRIPTOR.services_by_name["Group"].full_name
#: Full names of the services that `build_methods` answers.
SERVICES: Final = (LOG_SERVICE, ADMIN_SERVICE, GROUP_SERVICE)


def build_methods(edge: Edge) -> Methods:
    """Return the handlers of all services over one broker."""
    handshake, plain, offsets = HandshakeHandlers(edge), PlainHandlers(edge), OffsetHandlers(edge)
    log = {
        "Hello": UnaryMethod(log_pb2.HelloRequest, handshake.hello),
        "GetMetadata": UnaryMethod(log_pb2.GetMetadataRequest, handshake.get_metadata),
        "Append": UnaryMethod(log_pb2.AppendRequest, plain.append),
        "Read": UnaryMethod(log_pb2.ReadRequest, plain.read, waits=True),
        "ListOffsets": UnaryMethod(log_pb2.ListOffsetsRequest, offsets.list_offsets),
        "InitProducerId": UnaryMethod(log_pb2.InitProducerIdRequest, offsets.init_producer_id),
    }
    streams = {
        "Produce": StreamMethod(
            log_pb2.ProduceRequest, log_pb2.ProduceResponse, ProduceHandlers(edge).produce
        ),
        "Fetch": StreamMethod(
            log_pb2.FetchRequest, log_pb2.FetchResponse, FetchHandlers(edge).fetch
        ),
    }
    return Methods(
        unary={
            **{f"/{LOG_SERVICE}/{name}": method for name, method in log.items()},
            **{f"/{ADMIN_SERVICE}/{name}": method for name, method in _admin(edge).items()},
            **{f"/{GROUP_SERVICE}/{name}": method for name, method in _group(edge).items()},
        },
        streams={f"/{LOG_SERVICE}/{name}": method for name, method in streams.items()},
    )


def _admin(edge: Edge) -> dict[str, UnaryMethod]:
    admin, quorum = AdminHandlers(edge), QuorumHandlers(edge)
    return {
        "CreateTopic": UnaryMethod(admin_pb2.CreateTopicRequest, admin.create_topic),
        "DeleteTopic": UnaryMethod(admin_pb2.DeleteTopicRequest, admin.delete_topic),
        "AlterTopic": UnaryMethod(admin_pb2.AlterTopicRequest, admin.alter_topic),
        "DescribeTopics": UnaryMethod(admin_pb2.DescribeTopicsRequest, admin.describe_topics),
        "CompactTopic": UnaryMethod(admin_pb2.CompactTopicRequest, admin.compact_topic),
        "TransferLeader": UnaryMethod(admin_pb2.TransferLeaderRequest, admin.transfer_leader),
        "ReassignPartitions": UnaryMethod(
            admin_pb2.ReassignPartitionsRequest, admin.reassign_partitions
        ),
        "TrimTopic": UnaryMethod(admin_pb2.TrimTopicRequest, admin.trim_topic),
        "DescribeCluster": UnaryMethod(admin_pb2.DescribeClusterRequest, quorum.describe_cluster),
        "DescribeQuorum": UnaryMethod(admin_pb2.DescribeQuorumRequest, quorum.describe_quorum),
        "ReadRaftLog": UnaryMethod(admin_pb2.ReadRaftLogRequest, quorum.read_raft_log),
        "AddNode": UnaryMethod(admin_pb2.AddNodeRequest, quorum.add_node),
        "RemoveNode": UnaryMethod(admin_pb2.RemoveNodeRequest, quorum.remove_node),
        "ReplaceNode": UnaryMethod(admin_pb2.ReplaceNodeRequest, quorum.replace_node),
        "DescribeConfig": UnaryMethod(admin_pb2.DescribeConfigRequest, admin.describe_config),
    }


def _group(edge: Edge) -> dict[str, UnaryMethod]:
    group = GroupHandlers(edge)
    return {
        "FindCoordinator": UnaryMethod(group_pb2.FindCoordinatorRequest, group.find_coordinator),
        "Heartbeat": UnaryMethod(group_pb2.GroupHeartbeatRequest, group.heartbeat, waits=True),
        "CommitOffsets": UnaryMethod(group_pb2.CommitOffsetsRequest, group.commit_offsets),
        "FetchOffsets": UnaryMethod(group_pb2.FetchOffsetsRequest, group.fetch_offsets),
        "ListGroups": UnaryMethod(group_pb2.ListGroupsRequest, group.list_groups),
        "DescribeGroup": UnaryMethod(group_pb2.DescribeGroupRequest, group.describe_group),
        "GroupLag": UnaryMethod(group_pb2.GroupLagRequest, group.group_lag),
        "DeleteOffsets": UnaryMethod(group_pb2.DeleteOffsetsRequest, group.delete_offsets),
        "DeleteGroup": UnaryMethod(group_pb2.DeleteGroupRequest, group.delete_group),
    }
