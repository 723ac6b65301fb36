"""Names of the calls that the client makes, and the messages that they answer with."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message
from logd_proto.v1 import admin_pb2, group_pb2, log_pb2

HELLO: Final = "/logd.v1.Log/Hello"
GET_METADATA: Final = "/logd.v1.Log/GetMetadata"
PRODUCE: Final = "/logd.v1.Log/Produce"
FETCH: Final = "/logd.v1.Log/Fetch"
LIST_OFFSETS: Final = "/logd.v1.Log/ListOffsets"
INIT_PRODUCER_ID: Final = "/logd.v1.Log/InitProducerId"
CREATE_TOPIC: Final = "/logd.v1.Admin/CreateTopic"
DELETE_TOPIC: Final = "/logd.v1.Admin/DeleteTopic"
ALTER_TOPIC: Final = "/logd.v1.Admin/AlterTopic"
DESCRIBE_TOPICS: Final = "/logd.v1.Admin/DescribeTopics"
TRANSFER_LEADER: Final = "/logd.v1.Admin/TransferLeader"
REASSIGN_PARTITIONS: Final = "/logd.v1.Admin/ReassignPartitions"
COMPACT_TOPIC: Final = "/logd.v1.Admin/CompactTopic"
TRIM_TOPIC: Final = "/logd.v1.Admin/TrimTopic"
DESCRIBE_CLUSTER: Final = "/logd.v1.Admin/DescribeCluster"
DESCRIBE_CONFIG: Final = "/logd.v1.Admin/DescribeConfig"
DESCRIBE_QUORUM: Final = "/logd.v1.Admin/DescribeQuorum"
READ_RAFT_LOG: Final = "/logd.v1.Admin/ReadRaftLog"
ADD_NODE: Final = "/logd.v1.Admin/AddNode"
REMOVE_NODE: Final = "/logd.v1.Admin/RemoveNode"
REPLACE_NODE: Final = "/logd.v1.Admin/ReplaceNode"
FIND_COORDINATOR: Final = "/logd.v1.Group/FindCoordinator"
GROUP_HEARTBEAT: Final = "/logd.v1.Group/Heartbeat"
COMMIT_OFFSETS: Final = "/logd.v1.Group/CommitOffsets"
FETCH_OFFSETS: Final = "/logd.v1.Group/FetchOffsets"
LIST_GROUPS: Final = "/logd.v1.Group/ListGroups"
DESCRIBE_GROUP: Final = "/logd.v1.Group/DescribeGroup"
GROUP_LAG: Final = "/logd.v1.Group/GroupLag"
DELETE_OFFSETS: Final = "/logd.v1.Group/DeleteOffsets"
DELETE_GROUP: Final = "/logd.v1.Group/DeleteGroup"

RESPONSES: Final[dict[str, type[Message]]] = {
    HELLO: log_pb2.HelloResponse,
    GET_METADATA: log_pb2.GetMetadataResponse,
    PRODUCE: log_pb2.ProduceResponse,
    FETCH: log_pb2.FetchResponse,
    LIST_OFFSETS: log_pb2.ListOffsetsResponse,
    INIT_PRODUCER_ID: log_pb2.InitProducerIdResponse,
    CREATE_TOPIC: admin_pb2.CreateTopicResponse,
    DELETE_TOPIC: admin_pb2.DeleteTopicResponse,
    ALTER_TOPIC: admin_pb2.AlterTopicResponse,
    DESCRIBE_TOPICS: admin_pb2.DescribeTopicsResponse,
    COMPACT_TOPIC: admin_pb2.CompactTopicResponse,
    TRANSFER_LEADER: admin_pb2.TransferLeaderResponse,
    REASSIGN_PARTITIONS: admin_pb2.ReassignPartitionsResponse,
    TRIM_TOPIC: admin_pb2.TrimTopicResponse,
    DESCRIBE_CLUSTER: admin_pb2.DescribeClusterResponse,
    DESCRIBE_CONFIG: admin_pb2.DescribeConfigResponse,
    DESCRIBE_QUORUM: admin_pb2.DescribeQuorumResponse,
    READ_RAFT_LOG: admin_pb2.ReadRaftLogResponse,
    ADD_NODE: admin_pb2.AddNodeResponse,
    REMOVE_NODE: admin_pb2.RemoveNodeResponse,
    REPLACE_NODE: admin_pb2.ReplaceNodeResponse,
    FIND_COORDINATOR: group_pb2.FindCoordinatorResponse,
    GROUP_HEARTBEAT: group_pb2.GroupHeartbeatResponse,
    COMMIT_OFFSETS: group_pb2.CommitOffsetsResponse,
    FETCH_OFFSETS: group_pb2.FetchOffsetsResponse,
    LIST_GROUPS: group_pb2.ListGroupsResponse,
    DESCRIBE_GROUP: group_pb2.DescribeGroupResponse,
    GROUP_LAG: group_pb2.GroupLagResponse,
    DELETE_OFFSETS: group_pb2.DeleteOffsetsResponse,
    DELETE_GROUP: group_pb2.DeleteGroupResponse,
}
