from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import InvalidConfigError
from logd_wire.limits import BATCH_BYTES_MAX

from logd.model.settings import FlushMode, FlushPolicy, format_value
from logd.model.topic_config import (
    TOPIC_SETTINGS,
    TopicConfig,
    canonical_topic_config,
    durability_in_words,
    parse_topic_config,
    topic_config_entries,
)

DEFAULTS = TopicConfig(
    cleanup_policy="delete",
    compression_type="producer",
    delete_retention_ms=86_400_000,
    file_delete_delay_ms=60_000,
    flush=FlushPolicy(FlushMode.BATCH),
    index_interval_bytes=4_096,
    max_compaction_lag_ms=604_800_000,
    max_message_bytes=1_048_588,
    message_timestamp_after_max_ms=3_600_000,
    message_timestamp_type="CreateTime",
    min_cleanable_dirty_ratio=0.5,
    min_compaction_lag_ms=0,
    min_insync_replicas=1,
    retention_bytes=-1,
    retention_ms=604_800_000,
    retention_records=-1,
    segment_bytes=67_108_864,
    segment_ms=604_800_000,
    validate="header",
)


def test_the_defaults() -> None:
    assert parse_topic_config({}) == DEFAULTS
    assert DEFAULTS.deletes


def test_the_table_and_the_attributes_are_the_same() -> None:
    names = [setting.name for setting in TOPIC_SETTINGS]
    fields = [field.name for field in dataclasses.fields(TopicConfig)]
    assert [name.replace(".", "_") for name in names] == fields == sorted(fields)


def test_own_settings_go_before_the_node_s_and_those_before_the_table_s() -> None:
    node = {"retention.ms": "1d", "segment.bytes": "1MiB"}
    config = parse_topic_config({"retention.ms": "2h"}, defaults=node)
    assert config.retention_ms == 7_200_000
    assert config.segment_bytes == 2**20
    entries = topic_config_entries({"retention.ms": "2h"}, defaults=node)
    shown = {entry.name: (entry.value, entry.source) for entry in entries}
    assert shown["retention.ms"] == ("7200000", "topic")
    assert shown["segment.bytes"] == ("1048576", "node")
    assert shown["flush"] == ("batch", "default")
    assert [entry.name for entry in entries] == [setting.name for setting in TOPIC_SETTINGS]
    assert all(entry.doc and entry.dynamic for entry in entries)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("batch", FlushPolicy(FlushMode.BATCH)),
        (" none ", FlushPolicy(FlushMode.NONE)),
        ("interval:10ms", FlushPolicy(FlushMode.INTERVAL, 10)),
        ("interval:1h", FlushPolicy(FlushMode.INTERVAL, 3_600_000)),
    ],
)
def test_flush(text: str, policy: FlushPolicy) -> None:
    flush = parse_topic_config({"flush": text}).flush
    assert flush == policy
    assert flush.acks_after_sync is (text == "batch")
    assert parse_topic_config({"flush": str(flush)}).flush == policy


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("retention.mss", "1", "did you mean retention.ms"),
        ("segment", "1", "did you mean segment.ms"),
        ("xyzzy", "1", "docs/settings.md"),
        ("", "1", "unknown topic setting"),
        ("retention.ms", "soon", "retention.ms: 'soon' is not a duration"),
        ("retention.ms", "-2", "too small .*the least is -1"),
        ("retention.bytes", "", "is not a size"),
        ("segment.bytes", "1023", "the least is 1KiB"),
        ("segment.bytes", "2GiB", "too large"),
        ("segment.ms", "0", "too small"),
        ("max.message.bytes", str(BATCH_BYTES_MAX + 1), "the most is 8MiB"),
        ("max.message.bytes", "60", "too small"),
        ("min.insync.replicas", "0", "too small"),
        ("flush", "sometimes", "interval:10ms"),
        ("flush", "interval:0", "from 1ms"),
        ("flush", "interval:2h", "to 1h"),
        ("flush", "interval:-1", "from 1ms"),
        ("flush.ms", "10", "not offered .*interval"),
        ("flush.messages", "1", "not offered"),
        ("cleanup.policy", "shred", "choose from: delete, "),
        ("cleanup.policy", "compact,shred", "choose from: delete, "),
        ("min.cleanable.dirty.ratio", "1.1", "not a share .*0.5"),
        ("min.cleanable.dirty.ratio", "-0.1", "not a share"),
        ("min.cleanable.dirty.ratio", "nan", "not a share"),
        ("min.compaction.lag.ms", "8d", "larger than max.compaction.lag.ms"),
        ("max.compaction.lag.ms", "0", "too small"),
        ("delete.retention.ms", "-1", "too small"),
        ("retention.records", "-2", "too small"),
        ("validate", "keys", "choose from: header, records"),
        ("unclean.leader.election.enable", "true", "more than one node"),
        ("compression.type", "zstd", "compress in the producer"),
        ("message.timestamp.type", "LogAppendTime", "time index"),
        ("retention.ms", "9" * 5_000, "characters are too many"),
    ],
)
def test_refusals_say_what_and_why(name: str, text: str, words: str) -> None:
    with pytest.raises(InvalidConfigError, match=words):
        parse_topic_config({name: text})
    if "larger than" not in words:
        with pytest.raises(InvalidConfigError):
            canonical_topic_config({name: text})


@pytest.mark.parametrize(
    ("text", "deletes", "compacts"),
    [
        ("delete", True, False),
        ("compact", False, True),
        ("compact,delete", True, True),
        ("delete, compact", True, True),
        ("", False, False),
    ],
)
def test_cleanup_policies(text: str, deletes: bool, compacts: bool) -> None:
    config = parse_topic_config({"cleanup.policy": text})
    assert (config.deletes, config.compacts) == (deletes, compacts)
    assert config.validates_records is compacts, "null keys are refused at the door"
    assert parse_topic_config({"validate": "records"}).validates_records
    assert canonical_topic_config({"cleanup.policy": "delete,compact"}) == (
        ("cleanup.policy", "compact,delete"),
    )


def test_a_share_in_plain_form() -> None:
    assert (
        parse_topic_config({"min.cleanable.dirty.ratio": "0.25"}).min_cleanable_dirty_ratio == 0.25
    )
    for text in ("0", "1", "0.5"):
        plain = canonical_topic_config({"min.cleanable.dirty.ratio": text})
        assert plain == (("min.cleanable.dirty.ratio", text),)


def test_an_empty_cleanup_policy_keeps_everything() -> None:
    assert not parse_topic_config({"cleanup.policy": ""}).deletes


@pytest.mark.parametrize(("factor", "least"), [(1, 1), (2, 1), (3, 2), (5, 2)])
def test_two_replicas_have_to_be_in_sync_where_there_are_three(factor: int, least: int) -> None:
    assert parse_topic_config({}, replication_factor=factor).min_insync_replicas == least


def test_more_replicas_in_sync_than_there_are() -> None:
    own = {"min.insync.replicas": "2"}
    with pytest.raises(InvalidConfigError, match="acks=all could never be answered"):
        parse_topic_config(own, replication_factor=1)
    assert parse_topic_config(own, replication_factor=2).min_insync_replicas == 2
    assert parse_topic_config({}, defaults=own, replication_factor=1).min_insync_replicas == 1
    assert parse_topic_config({}, defaults=own, replication_factor=3).min_insync_replicas == 2


def test_plain_form() -> None:
    given_texts = {"retention.ms": "7d", "flush": "interval:1s", "segment.bytes": "64 MiB"}
    plain = canonical_topic_config(given_texts)
    assert plain == (
        ("flush", "interval:1s"),
        ("retention.ms", "604800000"),
        ("segment.bytes", "67108864"),
    )
    assert canonical_topic_config(dict(plain)) == plain
    assert parse_topic_config(dict(plain)) == parse_topic_config(given_texts)


def test_the_plain_form_of_every_default_means_the_same() -> None:
    for setting in TOPIC_SETTINGS:
        value = setting.parse(setting.default)
        assert setting.parse(format_value(value)) == value


@given(
    st.dictionaries(
        st.sampled_from([setting.name for setting in TOPIC_SETTINGS]) | st.text(max_size=12),
        st.sampled_from(["1", "-1", "0", "7d", "64KiB", "batch", "delete", ""])
        | st.text(max_size=12),
        max_size=3,
    ),
    st.integers(1, 5),
)
def test_any_texts_make_a_configuration_or_are_refused(texts: dict[str, str], factor: int) -> None:
    try:
        config = parse_topic_config(texts, replication_factor=factor)
    except InvalidConfigError as error:
        assert error.message
    else:
        assert 1 <= config.min_insync_replicas <= factor
        plain = dict(canonical_topic_config(texts))
        assert parse_topic_config(plain, replication_factor=factor) == config


@pytest.mark.parametrize(
    ("flush", "factor", "words"),
    [
        ("batch", 1, "1 replica; synced before it is acknowledged.*not the loss of its disk"),
        ("batch", 3, "3 replicas; synced on at least 2.*loss of 1 disk$"),
        ("interval:10ms", 1, "within 10ms after it is acknowledged"),
        ("none", 1, "never synced on purpose"),
    ],
)
def test_durability_is_said_in_words(flush: str, factor: int, words: str) -> None:
    config = parse_topic_config({"flush": flush}, replication_factor=factor)
    text = durability_in_words(config, factor)
    assert re.search(words, text)
