"""A node's stock of producer ids: blocks come from the metadata log, ids go to producers.

What is left of a block when the node stops is never used: a fresh start asks for a fresh block.
"""

from __future__ import annotations

from logd.metadata.commands import ProducerIdBlock


class ProducerIdPool:
    """Hands out each id of the blocks it was given once, in order."""

    def __init__(self) -> None:
        self._next = 0
        self._end = 0

    def take(self) -> int | None:
        """Return an id, or None when a block has to be allocated first."""
        if self._next >= self._end:
            return None
        producer_id = self._next
        self._next += 1
        return producer_id

    def add(self, block: ProducerIdBlock) -> None:
        """Take in a committed block; what is left of the one before is dropped.

        Raises ValueError when the block begins below ids it was given before.
        """
        if block.first_id < self._end:
            raise ValueError(f"producer ids from {block.first_id} were given before")
        self._next = block.first_id
        self._end = block.first_id + block.count
