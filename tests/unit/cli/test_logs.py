"""One event is one line, whatever is in it."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logd.cli.logs import VALUE_CHARACTERS_MAX, ConsoleFormatter, JsonFormatter

#: What gets into logs by way of names, error texts and settings, to forge lines or move cursors.
CORPUS = [
    'orders\n{"level": "critical", "event": "forged"}',
    "orders\r\nforged",
    "up\x1b[2J\x1b[1;1Hcleared",
    "bell\x07 back\x08space delete\x7f nul\x00",
    "C1 \x9b2J \x9d0;title\x9c next\x85line",
    "line\u2028separator paragraph\u2029separator",
    "right\u202eto left\u202c isolate\u2066x\u2069 zero\u200bwidth\ufeff",
    "lone \ud800 surrogate \udfff",
    'quote " backslash \\ slash / brace } , : [',
    "</script><!-- &amp; ${jndi:ldap://x} %s %d {0} %(name)s",
    "tab\tvertical\x0bform\x0cfile\x1cgroup\x1drecord\x1eunit\x1f",
    "ключ 鍵 🗝 e\u0301",
    "x" * 100_000,
    "\n" * 1_000,
    "",
]
texts = st.one_of(st.sampled_from(CORPUS), st.text(st.characters(codec=None), max_size=400))


class Rude:
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError("no")


def record_of(
    message: object, *arguments: Any, error: Any = None, **fields: Any
) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("logd.x", logging.INFO, "x.py", 1, message, arguments, info)
    made.__dict__.update(fields)
    return made


def parsed(record: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter({"node_id": 7}).format(record)
    assert line.isascii()
    assert line.isprintable()
    assert line.splitlines() == [line]
    document = json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert isinstance(document, dict)
    assert {"ts", "level", "logger", "event", "node_id"} <= document.keys()
    for value in document.values():
        for text in value if isinstance(value, list) else [value]:
            assert not isinstance(text, str) or len(text) <= VALUE_CHARACTERS_MAX
    return document


@pytest.mark.parametrize("text", CORPUS, ids=lambda text: ascii(text)[:24])
def test_the_corpus_is_one_line_of_json_each_time(text: str) -> None:
    cut = text if len(text) <= 256 else text[:255] + "…"
    assert parsed(record_of("%s", text))["event"] == cut
    assert parsed(record_of(text))["event"] == cut
    assert parsed(record_of("made", topic=text))["topic"] == cut
    assert parsed(record_of("made", **{text or "empty": 1}))["event"] == "made"
    failed = parsed(record_of("failed", error=ValueError(text)))
    assert failed["exception"][0].startswith("ValueError")
    assert len(failed["exception"]) <= 100


@given(texts, texts, st.dictionaries(texts, st.one_of(texts, st.integers(), st.floats())))
def test_any_text_is_one_line_of_json(message: str, name: str, extra: dict[str, Any]) -> None:
    standard = vars(record_of("")).keys() | {"message", "asctime"}
    fields = {key: value for key, value in extra.items() if key not in standard}
    made = record_of("%s", message, **fields)
    made.name = name
    parsed(made)


@given(texts, texts)
def test_a_terminal_is_told_nothing_but_text(message: str, value: str) -> None:
    shown = ConsoleFormatter().format(record_of("%s", message, topic=value))
    assert shown.isprintable()
    assert len(shown) <= 10 * (3 * VALUE_CHARACTERS_MAX)


def test_a_traceback_on_a_terminal_has_its_lines_and_no_others() -> None:
    try:
        raise ValueError("first\nsecond\x1b[2J")
    except ValueError as error:
        shown = ConsoleFormatter().format(record_of("failed", error=error))
    head, *trace = shown.split("\n")
    assert head.endswith("failed")
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "second\\x1b[2J"
    assert all(line.isprintable() for line in trace)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2.5, 2.5),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (b"\n", "b'\\n'"),
        ({"a": "\n"}, "{'a': '\\n'}"),
        (Rude(), "<Rude>"),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_values_of_every_kind(value: object, shown: object) -> None:
    assert parsed(record_of("made", value=value))["value"] == shown


def test_a_number_without_end_is_cut() -> None:
    assert len(parsed(record_of("made", value=10**10_000))["value"]) == VALUE_CHARACTERS_MAX


def test_fields_do_not_take_the_place_of_what_every_line_has() -> None:
    document = parsed(record_of("true", ts="x", level="x", logger="x", event="x", node_id=8))
    assert (document["event"], document["level"], document["node_id"]) == ("true", "info", 7)
    assert document["ts"] != "x"


def test_arguments_that_do_not_fit_are_still_an_event() -> None:
    assert parsed(record_of("%d of %d", "one"))["event"] == "%d of %d"
    assert parsed(record_of("%s", Rude()))["event"] == "%s"
    assert len(parsed(record_of("many", **{f"f{n}": n for n in range(1_000)}))) < 50


def test_a_long_traceback_keeps_its_beginning_and_its_end() -> None:
    def deep(left: int) -> None:
        if not left:
            raise ValueError("here")
        deeper(left - 1)

    def deeper(left: int) -> None:
        deep(left)

    try:
        deep(60)
    except ValueError:
        info = sys.exc_info()
    made = record_of("failed")
    made.exc_info = info
    trace = parsed(made)["exception"]
    assert len(trace) == 100
    assert (trace[0], trace[-1]) == ("Traceback (most recent call last):", "ValueError: here")
    assert "…" in trace


def test_warnings_are_events_too(recwarn: pytest.WarningsRecorder) -> None:
    shown = warnings.formatwarning("odd\nthing", UserWarning, "x.py", 1)
    assert parsed(record_of("%s", shown))["event"].startswith("x.py:1: UserWarning: odd\nthing")
    assert not recwarn.list
