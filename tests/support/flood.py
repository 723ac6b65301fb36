"""As many records as one producer can send, for a while: `… ADDRESSES TOPIC SECONDS`.

Runs in a process of its own and prints how many were acknowledged; the load is unbounded in rate
and bounded in time.
"""

from __future__ import annotations

import subprocess
import sys
import time

from logd_client import Producer

from tests.support.nodes import ROOT, environment

VALUES = [bytes([number % 251]) * 1_000 for number in range(256)]
#: What may be sent and not yet acknowledged, in calls.
AHEAD = 64


def flood(addresses: str, topic: str, seconds: float) -> int:
    """Send until the time is over; returns how many records were acknowledged."""
    sent = 0
    deadline = time.monotonic() + seconds
    with Producer(addresses, linger_ms=5) as producer:
        ahead = []
        while time.monotonic() < deadline:
            ahead.append(producer.send_many(topic, VALUES))
            if len(ahead) >= AHEAD:
                sent += len(ahead.pop(0).result(60))
        for delivery in ahead:
            sent += len(delivery.result(60))
    return sent


def start_flood(addresses: str, topic: str, seconds: float) -> subprocess.Popen[bytes]:
    """Run `flood` in a process of its own."""
    command = [sys.executable, "-m", "tests.support.flood", addresses, topic, str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE)


def flooded(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """Wait for the end of a flood; returns its count."""
    output, _ = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, "the producer failed"
    return int(output)


if __name__ == "__main__":
    print(flood(sys.argv[1], sys.argv[2], float(sys.argv[3])))
