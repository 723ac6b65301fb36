"""Both codecs side by side: what one makes of an input, the other must make of it, too."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from logd_wire import (
    _pure_decode,
    _pure_encode,
    _pure_filter,
    _pure_intake,
    _pure_keymap,
    partitioner,
)
from logd_wire.errors import LogdError

NAMES = (
    "BatchBuilder",
    "decode_batch",
    "decode_records",
    "decode_rows",
    "encode_batch",
    "Intake",
    "KeyMap",
    "Receipt",
    "filter_batch",
    "iter_keys",
    "iter_records",
    "murmur2",
    "partition_for_key",
)


def _codec(*modules: Any) -> SimpleNamespace:
    found = {
        name: getattr(module, name) for module in modules for name in NAMES if name in vars(module)
    }
    return SimpleNamespace(**found)


PURE = _codec(_pure_decode, _pure_encode, _pure_filter, _pure_intake, _pure_keymap, partitioner)

try:
    SPEED: SimpleNamespace | None = _codec(importlib.import_module("logd_wire._speed"))
except ImportError:
    SPEED = None

#: For every test that needs the compiled codec. A checkout without it says so; CI does not pass.
needs_both = pytest.mark.skipif(
    SPEED is None and not os.environ.get("CI"),
    reason="the compiled codec is not built: (cd client && python setup.py build_ext --inplace)",
)


def both() -> tuple[SimpleNamespace, SimpleNamespace]:
    """The pure codec and the compiled one."""
    assert SPEED is not None, "the compiled codec was not built"
    return PURE, SPEED


def outcome(call: Callable[..., object], *arguments: object, **named: object) -> tuple[object, ...]:
    """What `call` returns, or what it raises: class, and for errors of ours code and words."""
    try:
        return ("returned", call(*arguments, **named))
    except LogdError as error:
        return ("raised", type(error), error.code, str(error))
    except (TypeError, ValueError, BufferError, ArithmeticError) as error:
        return ("raised", type(error))


def same(call: Callable[..., object], *arguments: object) -> tuple[object, ...]:
    """Assert that `call(codec, *arguments)` does the same with both; return what it does."""
    pure, speed = both()
    expected, found = outcome(call, pure, *arguments), outcome(call, speed, *arguments)
    assert found == expected
    return found


class Row(tuple[Any, ...]):
    """What `decode_rows` makes here."""

    __slots__ = ()


def fields(view: Any) -> tuple[object, ...]:
    """All five fields of a record or view."""
    return (view.offset, view.timestamp, view.key, view.value, view.headers)


def keep_some(offset: int, key: bytes | None, has_value: bool) -> bool:
    """Depends on everything that it is told."""
    return (offset + len(key or b"x") + has_value) % 3 != 0


READERS: tuple[Callable[[Any, Any], object], ...] = (
    lambda codec, data: codec.decode_batch(data),
    lambda codec, data: codec.decode_batch(data, verify=False),
    lambda codec, data: codec.decode_records(data, 0, lambda *parts: parts, verify=False),
    lambda codec, data: codec.decode_rows(data, 0, Row, ("t", 1), (), verify=False),
    lambda codec, data: [fields(view) for view in codec.iter_records(data, verify=False)],
    lambda codec, data: list(codec.iter_keys(data, verify=False)),
    lambda codec, data: codec.filter_batch(data, 0, keep_some, verify=False),
    lambda codec, data: codec.filter_batch(
        data, 0, keep_some, delete_horizon=1_700_000_000_500, verify=False
    ),
)


def same_reading(data: Any) -> bool:
    """Assert that both codecs read `data` alike, in every way; return whether it is a batch."""
    results = [same(reader, data) for reader in READERS]
    return results[1][0] == "returned"
