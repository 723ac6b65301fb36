"""Which node to ask next, for calls that any node answers.

The one that answered last is asked again, so that a client talks to few nodes. One that failed is
asked only when all others have failed too, until it is heard of again; one that had nothing new to
tell is asked after the others.
"""

from __future__ import annotations

from collections.abc import Iterable


class Candidates:
    """Remembers how addresses did; knows nothing of which there are."""

    def __init__(self) -> None:
        #: The address to ask first; empty: none is better than the others.
        self.preferred = ""
        #: Addresses that failed since they were last heard of, the longest ago first.
        self._failed: dict[str, None] = {}
        #: Addresses that had nothing new, the longest ago first.
        self._passed: dict[str, None] = {}

    def order(self, addresses: Iterable[str], fallbacks: Iterable[str] = ()) -> list[str]:
        """Sort addresses by when to ask them; what is equal stays as it was. `fallbacks` come
        after all of `addresses` that did not fail."""
        failed = {address: place for place, address in enumerate(self._failed, 1)}
        passed = {address: place for place, address in enumerate(self._passed, 1)}
        known = dict.fromkeys(addresses)
        return sorted(
            dict.fromkeys([*known, *fallbacks]),
            key=lambda each: (
                failed.get(each, 0),
                each != self.preferred,
                each not in known,
                passed.get(each, 0),
            ),
        )

    def answered(self, address: str) -> None:
        """It was asked, and answered."""
        self.preferred = address
        self._failed.pop(address, None)

    def heard_of(self, address: str) -> None:
        """It answered somebody."""
        self._failed.pop(address, None)

    def failed(self, address: str) -> None:
        """It did not answer, or cannot do what it was asked for."""
        _move_to_end(self._failed, address)
        if self.preferred == address:
            self.preferred = ""

    def had_nothing_new(self, address: str) -> None:
        _move_to_end(self._passed, address)
        if self.preferred == address:
            self.preferred = ""

    def prefer(self, address: str) -> None:
        """Somebody says that this is the one to ask."""
        self.preferred = address
        self._failed.pop(address, None)


def _move_to_end(places: dict[str, None], address: str) -> None:
    places.pop(address, None)
    places[address] = None
