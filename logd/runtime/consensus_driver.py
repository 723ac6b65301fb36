"""Runs the consensus core: save (fdatasync) -> apply -> advance, on files of its own.

Implements `Consensus`. An error in save stops the node, except a full disk: then it waits for
space, and callers that do not want to wait learn that the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from logd_wire.errors import (
    LogdError,
    OutcomeUnknownError,
    StorageFailedError,
    StorageFullError,
)

from logd.consensus import Committed, Entry, Identity, OneVoter, Ready, Role, StateMachine
from logd.model.ids import LogIndex, NodeId, Term
from logd.observe import QuorumStatus
from logd.runtime.ports import Clock, Disk, Spawn
from logd.runtime.raft_store import RaftStore

_logger = logging.getLogger("logd.consensus")

#: How long a save waits before it tries a full disk again.
FULL_DISK_RETRY_MS = 250


class ConsensusDriver:
    """One voter's replicated log. `start` returns once what was committed before is applied."""

    def __init__(
        self,
        *,
        identity: Identity,
        disk: Disk,
        clock: Clock,
        open_store: Callable[[], RaftStore],
        machine: StateMachine,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._identity = identity
        self._disk = disk
        self._clock = clock
        self._open_store = open_store
        self._machine = machine
        self._on_fatal = on_fatal
        self._wake = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._proposals: dict[LogIndex, asyncio.Future[Committed]] = {}
        self._reads: dict[int, asyncio.Future[LogIndex]] = {}
        self._next_read = 0
        self._closing = False

    async def start(self, spawn: Spawn) -> None:
        """Open the log, win the election, apply what is committed."""
        self._store = await self._disk.write(self._open_store)
        self._core = OneVoter(self._identity, self._store.hard_state, self._store.entries)
        self._task = spawn(self._run(), "consensus")
        self._task.add_done_callback(lambda _: self._caught_up.set())
        await self._caught_up.wait()
        if self._task.done():
            # It ended before it caught up: by the error of the save, or by its own.
            await self._task
            raise StorageFailedError(
                "the metadata log could not be written at the start",
                hint="see the error before this one; check the disk",
            )

    @property
    def role(self) -> Role:
        return self._core.role

    @property
    def leader_id(self) -> NodeId | None:
        return self._core.leader_id

    @property
    def term(self) -> Term:
        return self._core.term

    @property
    def applied_index(self) -> LogIndex:
        return self._core.applied_index

    @property
    def status(self) -> QuorumStatus:
        core = self._core
        return QuorumStatus(
            role=core.role.value,
            term=core.term,
            leader_id=core.leader_id,
            commit_index=core.commit_index,
            applied_index=core.applied_index,
            end_index=core.end_index,
            caught_up=core.has_caught_up,
            voters=(self._identity.node_id,),
        )

    async def propose(self, payloads: Sequence[bytes], *, timeout_ms: int) -> Committed:
        proposal = self._core.propose(payloads)
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._proposals[proposal.index] = future
        self._wake.set()
        try:
            return await asyncio.wait_for(future, timeout_ms / 1000)
        except TimeoutError as error:
            raise OutcomeUnknownError(
                f"the metadata log did not take the change within {timeout_ms} ms",
                hint="it may still happen; look before you try again",
            ) from error
        finally:
            self._proposals.pop(proposal.index, None)

    async def read_barrier(self, *, timeout_ms: int) -> LogIndex:
        self._next_read += 1
        context = self._next_read
        self._core.read_index(context)
        future: asyncio.Future[LogIndex] = asyncio.get_running_loop().create_future()
        self._reads[context] = future
        self._wake.set()
        try:
            return await asyncio.wait_for(future, timeout_ms / 1000)
        except TimeoutError as error:
            raise OutcomeUnknownError(
                f"the metadata could not be confirmed within {timeout_ms} ms"
            ) from error
        finally:
            self._reads.pop(context, None)

    async def close(self, *, clean: bool) -> None:
        """Finish what is under way and close the log."""
        self._closing = True
        self._wake.set()
        await self._task
        await self._disk.write(partial(self._store.close, clean=clean))

    async def _run(self) -> None:
        while True:
            while self._core.has_ready():
                ready = self._core.ready()
                if not await self._save(ready):
                    return
                for entry in ready.committed:
                    self._apply(entry)
                role = self._core.role
                self._core.advance(ready)
                if self._core.role is not role:
                    self._machine.on_role(self._core.role, self._core.term, self._core.leader_id)
                for read in ready.reads:
                    waiting = self._reads.get(read.context)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(read.index)
            if self._core.has_caught_up:
                self._caught_up.set()
            if self._closing:
                return
            self._wake.clear()
            await self._wake.wait()

    async def _save(self, ready: Ready) -> bool:
        """Make a ready durable; False: closing, and there is no room to."""
        if ready.hard_state is None and not ready.entries:
            return True
        told = False
        while True:
            try:
                await self._disk.write(
                    partial(
                        self._store.save, ready.hard_state, ready.entries, self._clock.wall_ms()
                    )
                )
                return True
            except StorageFullError as error:
                if self._closing:
                    return False
                if not told:
                    told = True
                    _logger.error("%s", error)
                await self._clock.sleep_ms(FULL_DISK_RETRY_MS)
            except OSError as error:
                self._fail(error)
                return False

    def _fail(self, error: OSError) -> None:
        """The save failed: whatever waits may or may not be on the disk."""
        unknown: LogdError = OutcomeUnknownError(
            f"the node stopped on a storage error of the metadata log: {error}",
            hint="it may or may not have been kept; look before you try again",
        )
        futures: list[asyncio.Future[Any]] = [*self._proposals.values(), *self._reads.values()]
        for waiting in futures:
            if not waiting.done():
                waiting.set_exception(unknown)
        self._on_fatal(error)

    def _apply(self, entry: Entry) -> None:
        if entry.is_no_op:
            return
        result = self._machine.on_apply(entry.index, entry.term, entry.payloads)
        waiting = self._proposals.get(entry.index)
        if waiting is not None and not waiting.done():
            waiting.set_result(Committed(entry.index, entry.term, result))
