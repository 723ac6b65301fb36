"""Tables, YAML, exit codes and error lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import errors

from logd.cli.exits import ExitCode, UsageProblem, exit_code_for, one_line
from logd.cli.options import Format, Invocation
from logd.cli.output import aligned, emit, yaml_lines


def shown(capsys: pytest.CaptureFixture[str], chosen: Format | None) -> str:
    emit(
        Invocation(format=chosen),
        document=[{"name": "a", "size": 1}],
        tables=[("things", ["NAME", "SIZE"], [["a", 1], ["b\tc", None]])],
        names=["a"],
    )
    return capsys.readouterr().out


def test_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, None) == "NAME\tSIZE\na\t1\nb c\t-\n"
    assert shown(capsys, Format.TABLE) == shown(capsys, None)
    assert json.loads(shown(capsys, Format.JSON)) == [{"name": "a", "size": 1}]
    assert shown(capsys, Format.YAML) == "- name: a\n  size: 1\n"
    assert shown(capsys, Format.NAME) == "a\n"


def test_an_empty_list_is_a_header_only(capsys: pytest.CaptureFixture[str]) -> None:
    emit(Invocation(), document=[], tables=[("t", ["NAME"], [])], names=[])
    assert capsys.readouterr().out == "NAME\n"


def test_columns() -> None:
    assert aligned(["NAME", "N"], [["a", "1"], ["long name", "22"]], bold=False) == [
        "NAME        N",
        "a           1",
        "long name  22",
    ]
    assert aligned(["A"], [], bold=True) == ["\x1b[1mA\x1b[0m"]


def test_yaml() -> None:
    document = {"a": {"b": [1, [2, {"c": None}], []]}, "d": {}, "e f": "yes", "g": "x: y"}
    assert yaml_lines(document) == [
        "a:",
        "  b:",
        "    - 1",
        "    - - 2",
        "      - c: null",
        "    - []",
        "d: {}",
        '"e f": "yes"',
        'g: "x: y"',
    ]


@given(st.text())
def test_yaml_text_stays_on_one_line(text: str) -> None:
    [line] = yaml_lines({"k": text})
    assert line.startswith("k: ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BootstrapError("x"), ExitCode.UNREACHABLE),
        (errors.NetworkError("x"), ExitCode.UNREACHABLE),
        (errors.UnknownTopicError("x"), ExitCode.NOT_FOUND_OR_EXISTS),
        (errors.TopicExistsError("x"), ExitCode.NOT_FOUND_OR_EXISTS),
        (errors.AuthError("x"), ExitCode.NOT_ALLOWED),
        (errors.TimeoutError("x"), ExitCode.TIMED_OUT),
        (errors.ConfigError("x"), ExitCode.USAGE),
        (errors.StorageFullError("x"), ExitCode.FAILED),
        (UsageProblem("x"), ExitCode.USAGE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (OSError("x"), ExitCode.FAILED),
        (ZeroDivisionError("x"), ExitCode.FAILED),
    ],
)
def test_exit_codes(error: BaseException, code: ExitCode) -> None:
    assert exit_code_for(error) is code


def test_an_error_is_one_line() -> None:
    error = errors.UnknownTopicError("topic 'x'\ndoes not exist", hint="create it", broker="n:1")
    assert one_line(error) == "topic 'x' does not exist [n:1] (create it)"
    assert one_line(FileNotFoundError(2, "No such file", "a.txt")) == "a.txt: No such file"
    assert one_line(ValueError("x")) == (
        "internal error: ValueError: x (run again with -vv to see where)"
    )
