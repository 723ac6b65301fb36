"""What a produced batch has to be before it is appended to a partition."""

from __future__ import annotations

from logd_wire import BatchHeader, iter_keys, verify_produced_batch
from logd_wire.errors import ErrorCode, InvalidRecordError, LogdError, RecordTooLargeError

from logd.model.topic_config import TopicConfig


def check_batch(name: str, config: TopicConfig, records: bytes, now_ms: int) -> BatchHeader:
    """Return the header of one whole batch; `name` is that of the partition. Raises LogdError."""
    if len(records) > config.max_message_bytes:
        raise RecordTooLargeError(
            f"batch of {len(records)} bytes for {name}, the topic takes"
            f" {config.max_message_bytes} (max.message.bytes)",
            code=ErrorCode.BATCH_TOO_LARGE,
            hint="send smaller batches, or raise max.message.bytes of the topic",
        )
    try:
        header = verify_produced_batch(records)
    except LogdError as error:
        error.message = f"batch for {name}: {error.message}"
        raise
    latest_ms = now_ms + config.message_timestamp_after_max_ms
    if header.max_timestamp > latest_ms:
        raise InvalidRecordError(
            f"batch for {name} carries the timestamp {header.max_timestamp}, more than"
            f" {config.message_timestamp_after_max_ms} ms in the future",
            code=ErrorCode.INVALID_TIMESTAMP,
            hint="check the producer's clock; message.timestamp.after.max.ms sets the bound",
        )
    return header


def check_records(name: str, config: TopicConfig, batch: bytes) -> None:
    """Decode a batch where the topic wants that; a record without a key cannot be compacted."""
    if not config.validates_records:
        return
    try:
        for offset, key, _ in iter_keys(batch, verify=False):
            if key is None and config.compacts:
                raise InvalidRecordError(
                    f"record {offset} of the batch has no key, and the topic is compacted",
                    hint="give every record a key, or take compact out of cleanup.policy",
                )
    except LogdError as error:
        error.message = f"batch for {name}: {error.message}"
        raise
