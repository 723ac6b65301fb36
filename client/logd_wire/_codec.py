"""Which codec is in use: the compiled one where it was built, else the pure one.

The environment variable `LOGD_CODEC` chooses: `pure`, `compiled` (an error if it was not built), or
nothing for whatever is there. Both make the same bytes, records and errors.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Final

from logd_wire.errors import ConfigError

CODEC_VARIABLE: Final = "LOGD_CODEC"


#: What an extension of today has and one of before has not.
_NEWEST_NAME: Final = "Intake"


def _chosen(wanted: str) -> str:
    if wanted not in ("", "pure", "compiled"):
        raise ConfigError(
            f"{CODEC_VARIABLE} is {wanted[:40]!r}, which is no codec",
            hint="set it to pure or compiled, or leave it out",
        )
    if wanted == "pure":
        return "pure"
    try:
        built = importlib.import_module("logd_wire._speed")
        if not hasattr(built, _NEWEST_NAME):
            raise ImportError(f"{built.__file__} was built from older sources")
    except ImportError as error:
        if wanted == "compiled":
            raise ConfigError(
                f"{CODEC_VARIABLE} asks for the compiled codec, which is not there: {error}",
                hint="install logd-client again with a C compiler at hand, or leave it out",
            ) from error
        return "pure"
    return "compiled"


#: `pure` or `compiled`.
CODEC: Final = _chosen(os.environ.get(CODEC_VARIABLE, ""))

# To a type checker, the pure codec is what there is: the other one is held to it.
if TYPE_CHECKING or CODEC == "pure":
    from logd_wire._pure_decode import (
        decode_batch,
        decode_records,
        decode_rows,
        iter_keys,
        iter_records,
    )
    from logd_wire._pure_encode import BatchBuilder, encode_batch
    from logd_wire._pure_filter import filter_batch
    from logd_wire._pure_intake import Intake, Receipt
    from logd_wire._pure_keymap import KeyMap
    from logd_wire.partitioner import murmur2, partition_for_key
else:
    from logd_wire._speed import (
        BatchBuilder,
        Intake,
        KeyMap,
        Receipt,
        decode_batch,
        decode_records,
        decode_rows,
        encode_batch,
        filter_batch,
        iter_keys,
        iter_records,
        murmur2,
        partition_for_key,
    )

__all__ = [
    "CODEC",
    "BatchBuilder",
    "Intake",
    "KeyMap",
    "Receipt",
    "decode_batch",
    "decode_records",
    "decode_rows",
    "encode_batch",
    "filter_batch",
    "iter_keys",
    "iter_records",
    "murmur2",
    "partition_for_key",
]
