"""Exit codes, and what an exception becomes on the way out: one line and a number."""

from __future__ import annotations

import sys
import traceback
from enum import IntEnum

from logd_wire.errors import (
    AuthError,
    BootstrapError,
    ConfigError,
    GroupNotFoundError,
    LogdError,
    NetworkError,
    TimeoutError,
    TopicExistsError,
    UnknownTopicError,
)


class ExitCode(IntEnum):
    """What scripts may rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND_OR_EXISTS = 4
    NOT_ALLOWED = 5
    UNHEALTHY = 10
    TIMED_OUT = 124
    INTERRUPTED = 130


EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 the operation failed; 2 wrong usage or configuration; "
    "3 the cluster cannot be reached; 4 not found, or exists already; 5 not allowed; "
    "10 unhealthy; 124 --timeout passed; 130 stopped by Ctrl-C."
)

_BY_CLASS: tuple[tuple[type[LogdError], ExitCode], ...] = (
    (BootstrapError, ExitCode.UNREACHABLE),
    (NetworkError, ExitCode.UNREACHABLE),
    (UnknownTopicError, ExitCode.NOT_FOUND_OR_EXISTS),
    (GroupNotFoundError, ExitCode.NOT_FOUND_OR_EXISTS),
    (TopicExistsError, ExitCode.NOT_FOUND_OR_EXISTS),
    (AuthError, ExitCode.NOT_ALLOWED),
    (TimeoutError, ExitCode.TIMED_OUT),
    (ConfigError, ExitCode.USAGE),
)


class TimeLimitPassed(BaseException):
    """--timeout passed. Not an Exception: nothing on the way out may take it for its own."""


class NotFound(Exception):
    """What was asked for is not there; exit code 4."""


class UsageProblem(Exception):
    """Something about the arguments that only shows after they were parsed; exit code 2."""


def exit_code_for(error: BaseException) -> ExitCode:
    """The exit code that stands for `error`."""
    if isinstance(error, LogdError):
        for error_class, code in _BY_CLASS:
            if isinstance(error, error_class):
                return code
        return ExitCode.FAILED
    if isinstance(error, TimeLimitPassed):
        return ExitCode.TIMED_OUT
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, UsageProblem):
        return ExitCode.USAGE
    if isinstance(error, NotFound):
        return ExitCode.NOT_FOUND_OR_EXISTS
    return ExitCode.FAILED


def one_line(error: BaseException) -> str:
    """What, where and what to do, in one line whatever the message contains."""
    if isinstance(error, LogdError | UsageProblem | NotFound | TimeLimitPassed):
        text = str(error)
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}"
    else:
        text = f"internal error: {type(error).__name__}: {error} (run again with -vv to see where)"
    return " ".join(text.split())


def complain(message: str) -> None:
    """Write one error line to stderr."""
    print(f"logd: {message}", file=sys.stderr, flush=True)


def report(error: BaseException, *, verbose: int) -> ExitCode:
    """Tell the user about `error` and return the exit code; the traceback only with -vv."""
    code = exit_code_for(error)
    if verbose >= 2:
        traceback.print_exception(error)
    if code is not ExitCode.INTERRUPTED:
        complain(one_line(error))
    return code
