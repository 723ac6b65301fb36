"""Hosts of a test, each in a network namespace of its own, joined by a switch that can lose packets
from one to another.

Every host has a TUN device whose other end is read here, so that a packet goes nowhere unless the
switch passes it on. This machine is a host, too: clients of the test are cut off like nodes. Needs
root, `ip` and TUN devices; `why_not` says what is missing.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import shutil
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Self

_TUN = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_SUBNETS = "10.78"
_PACKET_BYTES_MAX = 65_536
#: Where the addresses lie in an IPv4 header.
_SOURCE, _TARGET = slice(12, 16), slice(16, 20)

#: The number of this machine among the hosts.
HERE = 254


def why_not() -> str | None:
    """What is missing for namespaces here; None: nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"missing: {', '.join(missing)}"
    if not os.path.exists(_TUN):
        return f"there is no {_TUN}"
    return None


class Switch:
    """Hosts by number, at `address_of(number)`, in a subnet that no other switch of this machine
    has; from `start` to `close` their packets are passed
    on, except from one to another where that is cut."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = (*numbers, HERE)
        self._subnet = ""
        self._devices: dict[bytes, int] = {}
        self._cut: set[tuple[int, int]] = set()
        self._dropped: Counter[tuple[int, int]] = Counter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._made = ExitStack()

    def start(self) -> Self:
        try:
            self._take_subnet()
            for number in self._numbers:
                self._add(number)
        except BaseException:
            self._made.close()
            raise
        self._thread.start()
        return self

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._made.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def address_of(self, number: int) -> str:
        return f"{self._subnet}.{number}"

    def command(self, number: int) -> tuple[str, ...]:
        """What runs a program on that host. (`ip netns exec` would give it mounts of its own as
        well, and keep disks alive that were unmounted.)"""
        return ("nsenter", f"--net=/run/netns/{self._namespace(number)}")

    @contextmanager
    def cut(self, sources: Iterable[int], targets: Iterable[int]) -> Iterator[None]:
        """Lose every packet from any of `sources` to any of `targets` inside the block; fails at
        its end when there was none to lose."""
        pairs = {(source, target) for source in sources for target in targets} - self._cut
        before = self._lost(pairs)
        self._cut |= pairs
        try:
            yield
        finally:
            self._cut -= pairs
        assert self._lost(pairs) > before, "no packet was lost: the cut has proven nothing"

    def _lost(self, pairs: Iterable[tuple[int, int]]) -> int:
        return sum(self._dropped[pair] for pair in pairs)

    def _namespace(self, number: int) -> str:
        return f"logd-{os.getpid()}-{number}"

    def _take_subnet(self) -> None:
        """The first whose name is free; the kernel frees the name with the process."""
        for third in range(256):
            claim = self._made.enter_context(socket.socket(socket.AF_UNIX))
            with suppress(OSError):
                claim.bind(f"\0logd-test-subnet-{third}")
                self._subnet = f"{_SUBNETS}.{third}"
                return
        raise AssertionError("no subnet is free")

    def _add(self, number: int) -> None:
        device = f"lt{os.getpid() % 100_000}x{number}"
        descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
        self._made.callback(os.close, descriptor)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN_NO_PI))
        inside: tuple[str, ...] = ()
        if number != HERE:
            namespace = self._namespace(number)
            _ip("netns", "add", namespace)
            self._made.callback(_ip, "netns", "del", namespace)
            _ip("link", "set", device, "netns", namespace)
            inside = ("-n", namespace)
            _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "addr", "add", f"{self.address_of(number)}/24", "dev", device)
        _ip(*inside, "link", "set", device, "up")
        self._devices[bytes(map(int, self.address_of(number).split(".")))] = descriptor

    def _pass_on(self) -> None:
        with selectors.DefaultSelector() as selector:
            for descriptor in self._devices.values():
                selector.register(descriptor, selectors.EVENT_READ)
            while not self._stopping.is_set():
                for key, _ in selector.select(0.05):
                    with suppress(BlockingIOError):
                        for _ in range(64):
                            self._pass_one(os.read(key.fd, _PACKET_BYTES_MAX))

    def _pass_one(self, packet: bytes) -> None:
        target = self._devices.get(packet[_TARGET])
        if target is None or packet[_SOURCE] not in self._devices:
            # Such as the kernel's own packets of IPv6.
            return
        pair = (packet[_SOURCE][-1], packet[_TARGET][-1])
        if pair in self._cut:
            self._dropped[pair] += 1
            return
        with suppress(OSError):
            os.write(target, packet)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
