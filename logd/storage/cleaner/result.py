"""What a pass hands back, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from logd.storage.layout import CLEANED_SUFFIX
from logd.storage.segment import SIDECAR_SUFFIXES


class CleaningError(Exception):
    """The log cannot be cleaned; the message says why. Nothing was changed."""


class CleaningAbortedError(Exception):
    """The pass was told to stop."""


@dataclass(frozen=True, slots=True)
class CleanedFile:
    """A file that can take the place of the segments in `[base_offset, next_offset)`.

    It lies under `name` and, with its sidecars, below the partition's directory. `counters` are
    those of its digest.
    """

    name: str
    base_offset: int
    next_offset: int
    size: int
    sources: tuple[int, ...]
    counters: dict[str, int]
    epoch_starts: tuple[tuple[int, int], ...]

    def sidecar(self, suffix: str) -> str:
        """The name of a file beside it."""
        return self.name.removesuffix(CLEANED_SUFFIX) + suffix + CLEANED_SUFFIX

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that belongs to it."""
        return (self.name, *(self.sidecar(suffix) for suffix in SIDECAR_SUFFIXES))


@dataclass(frozen=True, slots=True)
class CleaningResult:
    """One pass. The log is clean below `mapped_end` once all `files` are in place. The tombstones
    that it drops lie below `forgotten_end`; 0: it drops none."""

    generation: int
    tag: str
    mapped_end: int
    horizon_ms: int
    forgotten_end: int
    now_ms: int
    files: tuple[CleanedFile, ...]
    bytes_read: int
    bytes_before: int
    bytes_after: int
    records_before: int
    records_after: int
    keys: int

    def to_plain(self) -> dict[str, Any]:
        """What JSON can carry."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> CleaningResult:
        """The result that `to_plain` was called on."""
        files = tuple(
            CleanedFile(
                **{
                    **file,
                    "sources": tuple(file["sources"]),
                    "epoch_starts": tuple((epoch, at) for epoch, at in file["epoch_starts"]),
                }
            )
            for file in plain["files"]
        )
        return cls(**{**plain, "files": files})
