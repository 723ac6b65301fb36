"""A simulation provokes thousands of errors that the product logs; nobody would read them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced() -> Iterator[None]:
    """The product logs nothing inside the block, and as before behind it."""
    logger = logging.getLogger("logd")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
