"""Voters of the quorum as the metadata records them, and as consensus counts them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from logd.consensus.log_types import Voter, Voters
from logd.metadata import VoterImage, VotersChanged
from logd.runtime.record_codec import decode_metadata_record


def to_voters(images: Iterable[VoterImage]) -> Voters:
    """Return the voters of a record or of an image."""
    return tuple(Voter(each.node_id, each.directory_id, each.address) for each in images)


def voters_of(payloads: Sequence[bytes]) -> Voters | None:
    """Return the voters that an entry with these payloads puts in force; None: it says nothing
    about them. Raises LogdError for a record that cannot be read."""
    if len(payloads) != 1 or not payloads[0]:
        return None
    record = decode_metadata_record(payloads[0])
    return to_voters(record.voters) if isinstance(record, VotersChanged) else None
