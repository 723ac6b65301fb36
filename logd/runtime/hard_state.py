"""The hard state of consensus as a file: JSON, and a line with its CRC.

Version 1 was written by nodes that were their cluster: it reads as `founder`.
"""

from __future__ import annotations

import json
from typing import Final

from crc32c import crc32c
from logd_wire.errors import ConfigError, StorageFailedError

from logd.consensus.log_types import HardState, Identity
from logd.model.ids import ClusterId, DirectoryId, NodeId, Term

#: Where it lies in the data directory.
HARD_STATE: Final = "raft/hard-state"

_VERSION = 2


def encode_hard_state(state: HardState) -> bytes:
    """Return JSON and a line with its CRC."""
    document = {
        "format_version": _VERSION,
        "term": state.term,
        "vote": state.vote,
        "cluster_id": state.identity.cluster_id.hex(),
        "node_id": state.identity.node_id,
        "directory_id": state.identity.directory_id.hex(),
        "founder": state.founder,
    }
    body = json.dumps(document, sort_keys=True).encode() + b"\n"
    return body + b"%08x\n" % crc32c(body)


def decode_hard_state(data: bytes) -> HardState:
    """Parse the hard state.

    Raises StorageFailedError when it is damaged (the vote in it is lost), ConfigError for a newer
    format.
    """
    body, _, checksum = data.rstrip(b"\n").rpartition(b"\n")
    body += b"\n"
    if checksum != b"%08x" % crc32c(body):
        raise StorageFailedError(
            f"{HARD_STATE} of the data directory is damaged",
            hint="restore the data directory from a copy; one node of several: replace the node",
            retriable=False,
        )
    document = json.loads(body)
    version = document["format_version"]
    if not 1 <= version <= _VERSION:
        raise ConfigError(
            f"{HARD_STATE} has format version {version}, this release reads up to {_VERSION}",
            hint="start the release that wrote it, or a newer one",
        )
    identity = Identity(
        ClusterId(bytes.fromhex(document["cluster_id"])),
        NodeId(document["node_id"]),
        DirectoryId(bytes.fromhex(document["directory_id"])),
    )
    founder = True if version == 1 else bool(document["founder"])
    return HardState(Term(document["term"]), NodeId(document["vote"]), identity, founder)
