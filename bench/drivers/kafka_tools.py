"""Kafka by its own performance tools, in Java: what they measured by themselves is taken."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from bench import install
from bench.drivers.worker import Measure, task_of_arguments
from bench.task import Outcome, Task

_RECORDS = 1_000_000
_TOOLS = "org.apache.kafka.tools."


def _run(main_class: str, *options: str) -> str:
    libraries = f"{install.kafka_libraries()}/*"
    command = ["java", "-cp", libraries, _TOOLS + main_class, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{main_class}: {done.stdout[-300:]}")
    return done.stdout


def produce(task: Task, measure: Measure) -> None:
    """A million records, as fast as they go."""
    measure.begin()
    properties = [f"bootstrap.servers={task.address}", f"acks={task.acks}"]
    if task.tuned:
        properties += [f"batch.size={task.batch_bytes}", f"linger.ms={task.linger_ms:g}"]
    said = _run(
        "ProducerPerformance",
        *("--topic", task.topic, "--num-records", str(_RECORDS), "--throughput", "-1"),
        *("--record-size", str(task.size), "--producer-props", *properties),
    )
    rates = re.findall(r"records sent, ([0-9.]+) records/sec", said)
    answer(task, float(rates[-1]), _RECORDS)


def consume(task: Task, measure: Measure) -> None:
    """All of them; the rate of fetching, without the time until the group has its partitions."""
    measure.begin()
    said = _run(
        "ConsumerPerformance",
        *("--bootstrap-server", task.address, "--topic", task.topic),
        *("--messages", str(task.records)),
    )
    answer(task, float(said.strip().splitlines()[-1].split(",")[-1]), task.records)


def answer(task: Task, records_per_second: float, records: int) -> None:
    """An outcome that took as long as the tool says; its processor time is not known."""
    end_ns = time.monotonic_ns()
    outcome = Outcome(
        records=records,
        size=records * task.size,
        start_ns=end_ns - round(records / records_per_second * 1e9),
        end_ns=end_ns,
        all_records=records,
        versions={"kafka-tools": Path(install.kafka_libraries()).name.removeprefix("kafka-")},
    )
    print(outcome.to_json(), flush=True)


def main() -> None:
    task = task_of_arguments()
    if task.rate or task.partitions > 1 or task.key_bytes:
        sys.exit("there is no such lane")
    measure = Measure(task)
    (produce if task.role == "produce" else consume)(task, measure)


if __name__ == "__main__":
    main()
