"""The cleaner of one node: picks the log that needs it most, has it cleaned, puts it in place.

    look at every compacted log -> the one that is due and dirtiest -> plan (on the writer)
      -> one pass, elsewhere -> swap file by file (on the writer) -> look again
    nothing due: wait for the backoff, or for somebody who asks

One pass at a time. A log that cannot be cleaned is left alone for a while, longer each time, and
says why; the others are not kept waiting. A pass during which the log was cut, trimmed or deleted
is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from logd_wire.errors import LogdError, ShuttingDownError

from logd.model.ids import TopicPartitionId
from logd.model.node_config import CleanerSection
from logd.model.units import rough_duration, rough_size
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.housekeeping import compaction_in_words
from logd.runtime.partition import Partition
from logd.runtime.partitions import Partitions
from logd.runtime.ports import Cleaning, Clock, Disk, Rng, Spawn, Task
from logd.runtime.steady_clock import SteadyClock
from logd.storage import (
    CleaningError,
    CleaningPlan,
    CleaningResult,
    CleaningStatus,
    Files,
    Ledger,
    Moment,
    PartitionLog,
    clean,
)

_logger = logging.getLogger("logd.cleaner")

#: A log that could not be cleaned is tried again after so long, then after twice that, and so on.
RETRY_MS = 60_000
RETRY_MS_MAX = 3_600_000
#: What was just closed is in the ledger and committed, and a follower has heard of it, a moment
#: later; a caller looks so often, and waits no longer than this.
_SETTLED_POLL_MS = 20
_SETTLED_MS_MAX = 2_000


class InlineCleaning:
    """Implements `Cleaning` on the node's own threads: for tests, and where nobody is disturbed."""

    def __init__(self, files: Files, disk: Disk) -> None:
        self._files = files
        self._disk = disk

    async def clean(self, plan: CleaningPlan) -> CleaningResult:
        return await self._disk.read(partial(clean, self._files, plan))


class CompactionOutcome(NamedTuple):
    """What came of asking for a compaction; `words` say it, sizes are those of what was read.

    Not `done`: it goes on.
    """

    done: bool
    bytes_before: int
    bytes_after: int
    records_before: int
    records_after: int
    words: str


@dataclass(slots=True)
class _Trouble:
    """Why a log cannot be cleaned, how often that was found, and when it is tried again."""

    words: str
    attempts: int
    retry_at_ms: int


@dataclass(slots=True)
class _Request:
    """Somebody wants a log cleaned; `results` are the passes since then.

    `awaited`: somebody waited for a while and will ask again for what came of it.
    """

    done: asyncio.Future[CompactionOutcome]
    awaited: bool = False
    results: list[CleaningResult] = field(default_factory=list)


class _Candidate(NamedTuple):
    partition: Partition
    status: CleaningStatus


class Cleaner:
    """See the module's text."""

    def __init__(
        self,
        *,
        config: CleanerSection,
        partitions: Partitions,
        driver: DiskDriver,
        ledger: Ledger,
        disk: Disk,
        clock: Clock,
        steady: SteadyClock,
        rng: Rng,
        cleaning: Cleaning,
    ) -> None:
        self._config = config
        self._partitions = partitions
        self._driver = driver
        self._ledger = ledger
        self._disk = disk
        self._clock = clock
        self._steady = steady
        self._rng = rng
        self._cleaning = cleaning
        self._wake = asyncio.Event()
        self._requests: dict[TopicPartitionId, _Request] = {}
        #: What came of requests that somebody will ask for again.
        self._outcomes: dict[TopicPartitionId, CompactionOutcome] = {}
        self._troubles: dict[TopicPartitionId, _Trouble] = {}
        self._running: TopicPartitionId | None = None
        self._task: Task | None = None
        #: Since the start: passes that were put in place, and bytes they read and left.
        self.passes = 0
        self.bytes_before = 0
        self.bytes_after = 0

    def start(self, spawn: Spawn) -> None:
        self._task = spawn(self._run(), "cleaner")

    async def stop(self) -> None:
        """Stop a pass under way; what it wrote is removed by the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for request in self._requests.values():
            request.done.set_exception(ShuttingDownError("the node is stopping"))
            # Perhaps nobody waits for it any more.
            request.done.exception()
        self._requests.clear()

    @property
    def busy(self) -> bool:
        """Whether a pass is under way, or somebody waits for one."""
        return self._running is not None or bool(self._requests)

    # -- what others ask ---------------------------------------------------------------------

    async def in_words(self, found: Partition) -> str:
        """What would be cleaned, when, and why not now."""
        if not found.config.compacts:
            return "not compacted: cleanup.policy has no compact"
        moment = self._steady.moment()
        try:
            status = await self._disk.read(partial(self._look, found, moment))
        except OSError as error:
            return f"cannot be told: {error}"
        trouble = self._troubles.get(found.id)
        words = compaction_in_words(found.config, status, moment)
        if found.id == self._running:
            return f"being compacted now; {words}"
        if trouble is not None:
            wait_ms = max(trouble.retry_at_ms - self._clock.monotonic_ms(), 0)
            again = f"tried again in {rough_duration(wait_ms)}"
            return f"cannot be compacted: {trouble.words} ({again}); {words}"
        if status.verdict.is_due and not self._config.enable:
            return f"due, but log.cleaner.enable is false here; {words}"
        return words

    async def compact(self, found: Partition, *, now: bool, wait_ms: int) -> CompactionOutcome:
        """Clean a log whatever its dirty share; with `now` all that is in it at this moment.

        Returns when there is nothing left to do, or why it cannot be done, or after `wait_ms`:
        then it goes on, and another call without `now` waits for the same end.
        """
        if not found.config.compacts:
            return _outcome("not compacted: cleanup.policy has no compact", [])
        if now:
            await self._close_active(found)
        elif found.id not in self._requests and (kept := self._outcomes.pop(found.id, None)):
            return kept
        request = self._requests.get(found.id)
        if request is None:
            request = _Request(asyncio.get_running_loop().create_future())
            self._requests[found.id] = request
        self._outcomes.pop(found.id, None)
        self._troubles.pop(found.id, None)
        self._wake.set()
        if wait_ms > 0:
            request.awaited = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    outcome = await asyncio.shield(request.done)
                    self._outcomes.pop(found.id, None)
                    return outcome
        words = "being compacted" if found.id == self._running else "waits for its turn"
        return _outcome(words, request.results)._replace(done=False)

    async def _close_active(self, found: Partition) -> None:
        """Close the segment that is written to and wait until it may be cleaned; not for ever: a
        replica that is behind may keep it from being committed."""
        await self._driver.call(partial(_roll, found), found, sync=True)
        end_offset = found.view.durable_end_offset
        deadline_ms = self._clock.monotonic_ms() + _SETTLED_MS_MAX
        while self._limit(found) < end_offset and self._clock.monotonic_ms() < deadline_ms:
            await self._clock.sleep_ms(_SETTLED_POLL_MS)

    # -- the loop ----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            target = await self._choose()
            if target is not None:
                await self._clean(target)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._config.backoff_ms / 1000)

    async def _choose(self) -> Partition | None:
        """The log to clean next; answers those who asked for one that needs nothing."""
        moment = self._steady.check()
        looked_at = [found for found in self._partitions.all() if self._is_eligible(found)]
        candidates = await self._disk.read(partial(self._look_at_all, looked_at, moment))
        due: list[_Candidate] = []
        for candidate in candidates:
            if candidate.status.verdict.is_due:
                due.append(candidate)
            else:
                words = compaction_in_words(candidate.partition.config, candidate.status, moment)
                self._answer(candidate.partition.id, words)
        for key in [key for key in self._requests if self._partitions.get(key) is None]:
            self._answer(key, "the partition is gone")
        if not due:
            return None
        best = max(due, key=lambda one: (one.partition.id in self._requests, _urgency(one)))
        return best.partition

    def _is_eligible(self, found: Partition) -> bool:
        if not found.config.compacts:
            self._troubles.pop(found.id, None)
            self._answer(found.id, "not compacted any more")
            return False
        trouble = self._troubles.get(found.id)
        if trouble is not None and self._clock.monotonic_ms() < trouble.retry_at_ms:
            self._answer(found.id, f"cannot be compacted: {trouble.words}")
            return False
        return self._config.enable or found.id in self._requests

    def _look_at_all(self, looked_at: Sequence[Partition], moment: Moment) -> list[_Candidate]:
        """On a thread of the disk. What cannot be looked at is no candidate."""
        candidates = []
        for found in looked_at:
            with contextlib.suppress(OSError):
                candidates.append(_Candidate(found, self._look(found, moment)))
        return candidates

    def _look(self, found: Partition, moment: Moment) -> CleaningStatus:
        asked = found.id in self._requests
        return found.log.cleaning.status(moment, self._limit(found), asked=asked)

    def _limit(self, found: Partition) -> int:
        """What is cleaned is committed, durable, and below the end in the ledger."""
        return min(found.high_watermark, self._ledger.ends.get(found.key, 0))

    async def _clean(self, found: Partition) -> None:
        self._running = found.id
        log = found.log
        try:
            plan = await self._driver.call(partial(self._plan, found, log))
            if plan is None:
                return
            result = await self._cleaning.clean(plan)
            if await self._install(found, log, result):
                self._troubles.pop(found.id, None)
                self._note(found, result)
            else:
                self._note_trouble(
                    found, "it was changed meanwhile, or a replica fell behind, or there is no room"
                )
        except (CleaningError, LogdError) as error:
            self._note_trouble(found, str(error))
        finally:
            self._running = None

    def _plan(self, found: Partition, log: PartitionLog) -> CleaningPlan | None:
        """On the writer."""
        try:
            return log.cleaning.plan(
                self._steady.moment(),
                self._limit(found),
                tag=self._rng.randbytes(6).hex(),
                map_bytes=self._config.map_bytes,
                asked=found.id in self._requests,
                replicated_end=found.replicated_end,
            )
        except OSError as error:
            raise _unreadable(error) from error

    async def _install(self, found: Partition, log: PartitionLog, result: CleaningResult) -> bool:
        """Swap one file after the other; False: the log has changed meanwhile."""
        for number in range(len(result.files)):
            if self._partitions.get(found.id) is not found:
                return False
            if not await self._driver.call(partial(_swap, found, log, result, number)):
                await self._driver.call(partial(log.cleaning.discard, result))
                return False
        return await self._driver.call(lambda: found.log is log and log.cleaning.finish(result))

    def _note(self, found: Partition, result: CleaningResult) -> None:
        self.passes += 1
        self.bytes_before += result.bytes_before
        self.bytes_after += result.bytes_after
        request = self._requests.get(found.id)
        if request is not None:
            request.results.append(result)
        _logger.info(
            "%s: compacted below offset %d; %s became %s, %d records became %d, %d keys",
            found.name,
            result.mapped_end,
            rough_size(result.bytes_before),
            rough_size(result.bytes_after),
            result.records_before,
            result.records_after,
            result.keys,
        )

    def _note_trouble(self, found: Partition, words: str) -> None:
        if self._partitions.get(found.id) is not found:
            return
        before = self._troubles.get(found.id)
        attempts = 1 if before is None else before.attempts + 1
        wait_ms = min(RETRY_MS << min(attempts - 1, 10), RETRY_MS_MAX)
        retry_at_ms = self._clock.monotonic_ms() + wait_ms
        self._troubles[found.id] = _Trouble(words, attempts, retry_at_ms)
        if before is None or before.words != words:
            _logger.error("%s cannot be compacted: %s", found.name, words)

    def _answer(self, key: TopicPartitionId, words: str) -> None:
        request = self._requests.pop(key, None)
        if request is None:
            return
        outcome = _outcome(words, request.results)
        if request.awaited:
            self._outcomes[key] = outcome
        request.done.set_result(outcome)


def _roll(found: Partition) -> None:
    """On the writer: the log that there is by then, which a follower may have made anew."""
    found.log.roll()


def _swap(found: Partition, log: PartitionLog, result: CleaningResult, number: int) -> bool:
    """On the writer. A log that was made anew is another one. A replica that lost what it had, or
    came new, is to find the deletes that it lacks."""
    if found.log is not log:
        return False
    if result.forgotten_end > found.replicated_end:
        return False
    return log.cleaning.swap(result, number)


def _outcome(words: str, results: Sequence[CleaningResult]) -> CompactionOutcome:
    return CompactionOutcome(
        done=True,
        bytes_before=results[0].bytes_before if results else 0,
        bytes_after=results[-1].bytes_after if results else 0,
        records_before=results[0].records_before if results else 0,
        records_after=results[-1].records_after if results else 0,
        words=words,
    )


def _urgency(candidate: _Candidate) -> tuple[float, bytes, int]:
    """The dirtiest first; ids decide between equals, so that a run can be repeated."""
    return candidate.status.dirty_ratio, candidate.partition.key[0], candidate.partition.key[1]


def _unreadable(error: OSError) -> CleaningError:
    return CleaningError(f"a segment cannot be looked at: {error}")
