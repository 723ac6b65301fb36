"""Bytes that every release must read, and write again where there is one form only.

`golden.json` holds whole batches: of ours, of aiokafka and of kafka-python, with each codec, and
some put together by hand whose flags only brokers set. It is only ever added to.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from logd_wire import (
    Compression,
    WireRecord,
    decode_batch,
    encode_batch,
    iter_headers,
    verify_batch,
)
from logd_wire.errors import UnsupportedCompressionError

GOLDEN: list[dict[str, Any]] = json.loads(Path(__file__).with_name("golden.json").read_text())
HAS_LZ4 = importlib.util.find_spec("lz4") is not None


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _records(case: dict[str, Any]) -> list[WireRecord]:
    return [
        WireRecord(
            offset,
            timestamp,
            _bytes(key),
            _bytes(value),
            tuple((name, _bytes(content)) for name, content in headers),
        )
        for offset, timestamp, key, value, headers in case["records"]
    ]


def test_every_codec_and_maker_is_there() -> None:
    seen = {(case["made_by"].split()[0], case["header"]["attributes"] & 7) for case in GOLDEN}
    assert seen >= {
        *(("logd", codec) for codec in (0, 1, 3, 4)),
        *(("aiokafka", codec) for codec in (0, 1, 2, 3, 4)),
        *(("kafka-python", codec) for codec in (0, 1, 4)),
        ("hand", 0),
    }


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_batches_are_read(case: dict[str, Any]) -> None:
    batch = bytes.fromhex(case["batch"])
    header = verify_batch(batch, exact=True)
    assert header._asdict() == case["header"]
    assert list(iter_headers(batch)) == [(0, header)]
    if header.compression is Compression.SNAPPY or (
        header.compression is Compression.LZ4 and not HAS_LZ4
    ):
        with pytest.raises(UnsupportedCompressionError, match="choose zstd"):
            decode_batch(batch)
    else:
        assert decode_batch(batch) == _records(case)


@pytest.mark.parametrize(
    "case",
    [case for case in GOLDEN if case["made_by"] != "hand" and not case["header"]["attributes"]],
    ids=lambda case: case["name"],
)
def test_golden_batches_are_written_again(case: dict[str, Any]) -> None:
    fields = {
        name: case["header"][name]
        for name in (
            "base_offset",
            "leader_epoch",
            "producer_id",
            "producer_epoch",
            "base_sequence",
        )
    }
    assert encode_batch(_records(case), **fields).hex() == case["batch"]
