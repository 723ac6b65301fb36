"""Requests of clients that are carried out once, however often they are sent.

What a request has changed is written together with its id, which the caller drew. A request that is
sent again because its answer was lost finds that, and is answered by how things are now; whatever
others have done in between stays. A request that had nothing to change is not remembered: carried
out the second time, it is as if it had come later.
"""

from __future__ import annotations

from collections.abc import Iterable

from logd.metadata.image import ClusterImage
from logd.metadata.records import MetadataRecord, RequestDone
from logd.metadata.refusals import check_id
from logd.model.ids import TopicId


def done_before(image: ClusterImage, request_id: bytes) -> RequestDone | None:
    """What is remembered of a request; None: it was not carried out, or has no id."""
    if not request_id:
        return None
    check_id(request_id, "request id")
    return image.requests.get(request_id)


def noted(
    records: Iterable[MetadataRecord], request_id: bytes, topic_id: TopicId
) -> tuple[MetadataRecord, ...]:
    """The records that carry out a request, and that it was; none where nothing changes."""
    changes = tuple(records)
    if not changes or not request_id:
        return changes
    return (*changes, RequestDone(request_id, topic_id))
