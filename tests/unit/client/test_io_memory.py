"""Buffers of a request are made of memory that is there already."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: What the I/O thread allocates for each request, roughly; page faults of a hundred of them.
ROUNDS = """
import resource, sys, threading
from logd_client._io_thread import io_thread

if sys.argv[1] == "client":
    io_thread()

def request():
    batches = [b"x" * (256 << 10) for _ in range(12)]
    return len(b"".join(batches[:4])) + len(b"".join(batches[4:8]))

def requests():
    for _ in range(5):
        request()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        request()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=requests)
thread.start()
thread.join()
"""


def faults(who: str) -> int:
    command = [sys.executable, "-c", ROUNDS, who]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives memory back")
def test_what_a_request_frees_is_there_for_the_next_one() -> None:
    assert faults("nobody") > 10_000, "the C library keeps what is freed by itself"
    assert faults("client") < 1_000
