"""The checker is tested too: golden histories, and histories of a correct log with one mutation."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.checker import ANOMALIES, check
from tests.sim.history import History, Replica, Result, Seen, Send

GOLDEN = Path(__file__).parent / "golden" / "histories.txt"


@dataclass(slots=True)
class Golden:
    """One small history: the anomaly it is about, whether it has it, its lines."""

    about: str
    positive: bool
    title: str
    lines: list[str] = field(default_factory=list)


def load() -> list[Golden]:
    found: list[Golden] = []
    for line in GOLDEN.read_text().splitlines():
        if line.startswith("== "):
            about, sign, title = line[3:].split(" ", 2)
            found.append(Golden(about, sign == "+", title))
        elif found and line.strip():
            found[-1].lines.append(line)
    return found


class Reader:
    """Builds a history from lines."""

    def __init__(self) -> None:
        self.history = History()
        self.expected: set[str] = set()
        self._open: dict[str, Send] = {}
        self._asked: dict[str, int] = {}

    def read(self, lines: list[str]) -> None:
        for line in lines:
            verb, _, rest = line.partition(" ")
            getattr(self, f"_{verb.rstrip(':')}")(rest)
        self._defaults()

    def _defaults(self) -> None:
        history = self.history
        acknowledged: dict[str, list[Seen]] = defaultdict(list)
        for send in sorted(history.sends, key=lambda send: send.offset):
            if send.result == "ok":
                seen = Seen(send.offset, send.value, send.digest)
                acknowledged[send.key].append(seen)
        for key, records in acknowledged.items():
            history.log.setdefault(key, records)
        for key, records in history.log.items():
            history.drain.setdefault(key, records)

    def _begin(self, rest: str) -> None:
        producer, value, key = rest.split()
        self._open[value] = self.history.begin_send(producer, key, value, f"sha-{value}")

    def _end(self, rest: str) -> None:
        value, _, outcome = rest.split()
        results: dict[str, Result] = {"?": "info", "!": "fail"}
        result = results.get(outcome, "ok")
        offset, _, epoch = outcome.partition("@") if result == "ok" else ("-1", "", "")
        send = self._open[value]
        self.history.end_send(send, result, int(offset), leader_epoch=int(epoch or -1))

    def _send(self, rest: str) -> None:
        begin, _, outcome = rest.partition(" -> ")
        self._begin(begin)
        self._end(f"{begin.split()[1]} -> {outcome}")

    def _records(self, rest: str) -> tuple[str, list[Seen]]:
        where, _, records = rest.partition(":")
        found = []
        for record in records.split():
            offset, _, value = record.partition("=")
            name = value.rstrip("~")
            found.append(Seen(int(offset), name, f"sha-{value}"))
        return where, found

    def _poll(self, rest: str) -> None:
        where, records = self._records(rest)
        consumer, key = where.split()
        name, _, session = consumer.partition(".")
        self.history.add_poll(name, int(session or 0), key, records)

    def _log(self, rest: str) -> None:
        key, records = self._records(rest)
        self.history.log[key] = records

    def _drain(self, rest: str) -> None:
        key, records = self._records(rest)
        self.history.drain[key] = records

    def _replica(self, rest: str) -> None:
        where, records = self._records(rest)
        place, watermark, *epochs = where.split()
        key, _, node = place.partition("@")
        start, _, end = watermark.partition("-")
        begins = {int(each.split("=")[0]): int(each.split("=")[1]) for each in epochs}
        self.history.replicas.append(Replica(key, int(node), int(start), int(end), records, begins))

    def _trim(self, rest: str) -> None:
        key, offset, _, outcome = rest.split()
        trim = self.history.begin_trim(key, int(offset))
        if outcome == "ok":
            self.history.end_trim(trim)

    def _ask(self, rest: str) -> None:
        self._asked[rest] = self.history.tick()

    def _latest(self, rest: str) -> None:
        self._bound("latest", rest.split())

    def _earliest(self, rest: str) -> None:
        self._bound("earliest", rest.split())

    def _bound(self, kind: str, words: list[str]) -> None:
        invoked = self._asked[words[3]] if len(words) > 2 else self.history.tick()
        assert kind in ("latest", "earliest")
        self.history.add_bound(
            words[0], "latest" if kind == "latest" else "earliest", int(words[1]), invoked
        )

    def _expect(self, rest: str) -> None:
        self.expected = set(rest.split())


@pytest.mark.parametrize("golden", load(), ids=lambda golden: f"{golden.about}: {golden.title}")
def test_golden_histories(golden: Golden) -> None:
    reader = Reader()
    reader.read(golden.lines)
    verdict = check(reader.history)
    assert set(verdict.anomalies) == reader.expected, str(verdict)
    assert (golden.about in reader.expected) == golden.positive
    assert golden.positive or verdict.valid


@pytest.mark.parametrize("name", ANOMALIES)
def test_every_anomaly_has_three_histories_of_each_kind(name: str) -> None:
    about = [golden for golden in load() if golden.about == name]
    assert sum(golden.positive for golden in about) >= 3
    assert sum(not golden.positive for golden in about) >= 3


def correct_history(rng: random.Random) -> History:
    """What clients of a correct log may see: any order, lost answers, trims, several consumers."""
    history = History()
    keys = ["t/0", "t/1"]
    log: dict[str, list[Seen]] = {key: [] for key in keys}
    start = dict.fromkeys(keys, 0)
    positions: dict[tuple[str, int, str], int] = {}
    sessions = {"c": 0, "d": 0}
    for number in range(rng.randrange(5, 60)):
        key = rng.choice(keys)
        step = rng.random()
        if step < 0.6:
            _send_one(history, rng, log[key], key, number)
        elif step < 0.85:
            consumer = rng.choice(sorted(sessions))
            if rng.random() < 0.1:
                sessions[consumer] += 1
            place = (consumer, sessions[consumer], key)
            first = max(positions.get(place, rng.randrange(len(log[key]) + 1)), start[key])
            records = log[key][first : first + rng.randrange(1, 6)]
            if records:
                history.add_poll(*place, records)
                positions[place] = records[-1].offset + 1
        elif step < 0.95:
            invoked = history.tick()
            history.add_bound(key, "latest", len(log[key]), invoked)
            history.add_bound(key, "earliest", start[key], history.tick())
        else:
            start[key] = max(start[key], rng.randrange(len(log[key]) + 1))
            trim = history.begin_trim(key, start[key])
            if rng.random() < 0.5:
                history.end_trim(trim)
    for key in keys:
        history.log[key] = log[key][start[key] :]
        history.drain[key] = list(history.log[key])
        _add_replicas(history, rng, key)
    return history


def _add_replicas(history: History, rng: random.Random, key: str) -> None:
    """Three replicas: one knows of every acknowledgement, the others' watermarks follow, and what
    lies above these may be anything."""
    log = history.log[key]
    start, end = history.floor(key), log[-1].offset + 1 if log else history.floor(key)
    for node in (1, 2, 3):
        watermark = end if node == 1 else rng.randint(start, end)
        records = [seen for seen in log if seen.offset < watermark or rng.random() < 0.5]
        records += [Seen(end + number, f"uncertain-{node}", "x") for number in range(node - 1)]
        history.replicas.append(Replica(key, node, start, watermark, records, {0: 0}))


def _send_one(history: History, rng: random.Random, log: list[Seen], key: str, number: int) -> None:
    value = f"v{number}"
    send = history.begin_send(rng.choice("ab"), key, value, f"sha-{value}")
    outcome = rng.random()
    if outcome < 0.15:
        history.end_send(send, "fail")
    elif outcome < 0.25:
        history.end_send(send, "info")
    else:
        log.append(Seen(len(log), value, send.digest))
        if outcome < 0.4:
            history.end_send(send, "info")
        elif outcome < 0.95:
            history.end_send(send, "ok", len(log) - 1)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_a_correct_log_is_always_valid(seed: int) -> None:
    verdict = check(correct_history(random.Random(seed)))
    assert verdict.valid, str(verdict)


def mutate(history: History, rng: random.Random) -> str:
    """Break one rule; returns what was done, or an empty text when there was nothing to break."""
    key = rng.choice(sorted(history.log))
    log = history.log[key]
    acknowledged = {send.value for send in history.sends if send.result == "ok"}
    kept = [seen for seen in log if seen.offset >= history.floor(key)]
    kept = [seen for seen in kept if seen.value in acknowledged]
    if not kept:
        return ""
    victim = rng.choice(kept)
    place = log.index(victim)
    kind = rng.choice(["drop", "corrupt", "rename", "copy", "move", "undrained", "refuse"])
    if kind == "drop":
        del log[place]
    elif kind == "corrupt":
        log[place] = replace(victim, digest="sha-else")
    elif kind == "rename":
        log[place] = replace(victim, value="nobody")
    elif kind == "copy":
        log.append(replace(victim, offset=log[-1].offset + 1))
    elif kind == "move":
        log[place] = replace(victim, offset=log[-1].offset + 1)
    elif kind == "undrained":
        history.drain[key].remove(victim)
    else:
        send = next(send for send in history.sends if send.value == victim.value)
        send.result, send.offset = "fail", -1
    return kind


def mutate_replica(history: History, rng: random.Random) -> str:
    """Break one rule of one replica; returns what was done, or an empty text."""
    acknowledged = {(send.key, send.value) for send in history.sends if send.result == "ok"}
    replica = rng.choice(history.replicas)
    kept = [
        seen
        for seen in replica.records
        if seen.offset < replica.high_watermark and (replica.key, seen.value) in acknowledged
    ]
    if not kept:
        return ""
    victim = rng.choice(kept)
    place = replica.records.index(victim)
    kind = rng.choice(["drop", "corrupt", "rename", "copy"])
    if kind == "drop":
        del replica.records[place]
    elif kind == "corrupt":
        replica.records[place] = replace(victim, digest="sha-else")
    elif kind == "rename":
        replica.records[place] = replace(victim, value="nobody")
    else:
        replica.records.insert(place, victim)
    return kind


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_any_single_mutation_of_a_replica_is_flagged(seed: int) -> None:
    rng = random.Random(seed)
    history = correct_history(rng)
    kind = mutate_replica(history, rng)
    if kind:
        assert not check(history).valid, kind


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_any_single_mutation_is_flagged(seed: int) -> None:
    rng = random.Random(seed)
    history = correct_history(rng)
    kind = mutate(history, rng)
    if kind:
        assert not check(history).valid, kind
