"""A write that did not go through whole: going on after it, or taking it back."""

from __future__ import annotations

from logd.storage.files import is_no_space
from logd.storage.handles import Handle
from logd.storage.sync import SyncState, full_error


def write_rest(handle: Handle, batch: bytes, stamp: bytes, position: int, written: int) -> None:
    """Go on after a short write; the error behind it comes with the next one."""
    view = memoryview(stamp + batch[len(stamp) :])
    while written < len(view):
        written += handle.file.pwrite([view[written:]], position + written)


def cut_back(
    sync: SyncState, directory: str, handle: Handle, position: int, error: OSError
) -> Exception:
    """Take a batch back that was not written whole; return what the caller is to raise."""
    if is_no_space(error):
        try:
            handle.file.truncate(position)
        except OSError as cut_error:
            sync.failed = True
            return cut_error
        if handle.segment not in sync.dirty:
            sync.dirty[handle.segment] = handle
        return full_error(directory)
    sync.failed = True
    return error
