"""Which partitions may be trimmed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logd_client.values import PartitionInfo, TopicInfo
from logd_wire.errors import NotLeaderError, UnknownTopicError

from logd.cli.trimming import chosen_partitions

HERE = PartitionInfo(0, 1, 0, (1,), (1,), 10, 90, 800, 1)
#: What a description holds of a partition whose leader did not answer.
SILENT = replace(HERE, partition=1, start_offset=-1, end_offset=-1, size_bytes=0, segments=0)
TOPIC = TopicInfo("t", "id", False, (HERE, SILENT), {})


def test_a_partition_of_unknown_offsets_is_not_trimmed() -> None:
    # -1 would be taken for the high watermark: everything that is acknowledged.
    for numbers in (None, [1], [0, 1]):
        with pytest.raises(NotLeaderError, match=r"t\[1\]: nobody says where it begins"):
            chosen_partitions(TOPIC, numbers)
    assert chosen_partitions(TOPIC, [0]) == [HERE]


def test_a_partition_that_does_not_exist() -> None:
    with pytest.raises(UnknownTopicError, match="no partition 2") as caught:
        chosen_partitions(TOPIC, [0, 2])
    assert caught.value.hint == "it has 0 to 1"
