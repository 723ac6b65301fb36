"""Clients made from the settings of a run, and the time limit over the whole of it."""

from __future__ import annotations

import difflib
import inspect
import signal
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from logd_wire.errors import ConfigError, LogdError, UnknownTopicError

from logd.cli.exits import TimeLimitPassed
from logd.cli.options import Invocation
from logd.cli.profile_file import Scalar
from logd.cli.settings import ClientSettings, client_settings

if TYPE_CHECKING:
    from logd_client import Admin, Consumer, Producer

_CLIENT_ID = "logd-cli"
#: Cleaning up after the time limit is interrupted as well.
_AGAIN_SECONDS = 3.0
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def open_admin(invocation: Invocation, **chosen: Any) -> Admin:
    """An Admin of the cluster this run talks to; `chosen` as of `open_consumer`."""
    from logd_client import Admin

    return Admin(**_prepare(invocation, Admin, chosen))


def open_consumer(invocation: Invocation, **chosen: Any) -> Consumer[bytes, bytes]:
    """A Consumer without topics; `chosen` wins over the profile, but not over -X."""
    from logd_client import Consumer

    return Consumer(**_prepare(invocation, Consumer, chosen))


def open_producer(invocation: Invocation, **chosen: Any) -> Producer[bytes, bytes]:
    """A Producer; options in `chosen` that are None are left to the profile and the defaults."""
    from logd_client import Producer

    return Producer(**_prepare(invocation, Producer, chosen))


def _prepare(invocation: Invocation, client: type, chosen: dict[str, Any]) -> dict[str, Any]:
    start_time_limit(invocation)
    settings = client_settings(invocation)
    if invocation.verbose:
        invocation.say(f"connecting to {settings.bootstrap} ({settings.bootstrap_source})")
    if invocation.verbose >= 2:
        _log_to_stderr()
    options = client_options(client, settings)
    options |= {
        name: value
        for name, value in chosen.items()
        if value is not None and settings.properties.get(name, ("", ""))[1] != "flag -X"
    }
    options["bootstrap_servers"] = settings.bootstrap
    if "client_id" in inspect.signature(client).parameters:
        options.setdefault("client_id", _CLIENT_ID)
    return options


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def client_options(client: type, settings: ClientSettings) -> dict[str, Any]:
    """The settings that `client` understands, as keyword arguments.

    What another client understands is left out; what none understands is an error when it was
    given with -X or in a profile. The environment may hold other LOGD_ variables.
    """
    known = _known_options()
    own = inspect.signature(client).parameters
    options = {}
    for name, (value, source) in settings.properties.items():
        if name not in known:
            if not source.startswith("env"):
                raise _unknown_option(name, source, known)
        elif name in own:
            options[name] = _typed(name, value, own[name], source)
    return options


def _known_options() -> set[str]:
    import logd_client

    refused = {"self", "topics", "partitioner", "bootstrap_servers"}
    names: set[str] = set()
    for client in (logd_client.Producer, logd_client.Consumer, logd_client.Admin):
        names |= inspect.signature(client).parameters.keys()
    return {name for name in names - refused if not name.endswith("serializer")}


def _unknown_option(name: str, source: str, known: Iterable[str]) -> ConfigError:
    close = difflib.get_close_matches(name, known, n=1)
    dotted = name.replace("_", ".")
    hint = (
        f"did you mean {close[0].replace('_', '.')}?"
        if close
        else "there are " + ", ".join(sorted(item.replace("_", ".") for item in known))
    )
    return ConfigError(f"{dotted} ({source}) is not a setting of the client", hint=hint)


def _typed(name: str, value: Scalar, parameter: inspect.Parameter, source: str) -> Any:
    """`value` in the type of the parameter, told from its default and annotation."""
    if not isinstance(value, str):
        return value
    wanted = str(parameter.annotation)
    text = value.strip()
    try:
        if isinstance(parameter.default, bool):
            return _boolean(text)
        if isinstance(parameter.default, int | float) or "float" in wanted:
            return int(text) if text.lstrip("-").isdigit() else float(text)
        if "int" in wanted.replace("Literal", "") or "Literal[0, 1" in wanted:
            return int(text) if text.lstrip("-").isdigit() else text
    except ValueError:
        dotted = name.replace("_", ".")
        raise ConfigError(f"{dotted} ({source}): {value!r} is not understood") from None
    return text


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def start_time_limit(invocation: Invocation) -> None:
    """From now on --timeout runs: when it passes, the main thread is interrupted."""
    seconds = invocation.timeout_seconds
    if seconds is None or threading.current_thread() is not threading.main_thread():
        return
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        return

    def passed(_number: int, _frame: object) -> None:
        raise TimeLimitPassed(
            f"not done within --timeout {seconds:g} s (give it more time, or see whether the node "
            "answers: logd cluster info)"
        )

    signal.signal(signal.SIGALRM, passed)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)


def stop_time_limit() -> None:
    """End the time limit, if one runs."""
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)


def suggest_topic(error: LogdError, topic: str, invocation: Invocation) -> LogdError:
    """`error` with a hint that names a topic of nearly that name, if the error is about that."""
    if not isinstance(error, UnknownTopicError):
        return error
    try:
        with open_admin(invocation) as admin:
            names = [info.name for info in admin.list_topics()]
    except LogdError:
        return error
    close = difflib.get_close_matches(topic, names, n=1)
    if close and topic not in names:
        error.hint = f"did you mean {close[0]!r}? see `logd topic list`"
    elif topic not in names:
        error.hint = f"see `logd topic list`, or create it: logd topic create {topic}"
    return error
