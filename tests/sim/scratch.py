"""Topics that come and go: a change that was answered holds, whatever crashes afterwards.

* metadata-lost: a topic whose creation was answered is not there, or one whose deletion was.
* metadata-undecided is allowed only where no answer came.
"""

from __future__ import annotations

from typing import Literal

from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_wire.errors import LogdError, TopicExistsError, UnknownTopicError

from tests.sim.world import World

State = Literal["made", "deleted", "unknown"]

CONFIG = {"file.delete.delay.ms": "100", "segment.bytes": "4096"}
NAMES = ("scratch-0", "scratch-1", "scratch-2")


class ScratchWorker:
    """Creates and deletes topics of its own; nobody else touches them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng.child("worker/scratch")
        self._admin = AdminEngine(
            world.network.transport("scratch"),
            world.client_clock,
            world.rng.child("scratch"),
            ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
        )
        self.states: dict[str, State] = dict.fromkeys(NAMES, "deleted")

    async def run(self) -> None:
        """Runs until the world stops consuming."""
        world = self._world
        while world.consuming:
            await world.client_clock.sleep_ms(self._rng.exponential(400.0, 3000.0))
            name = self._rng.choice(NAMES)
            state = self.states[name]
            deletes = state == "made" or (state == "unknown" and self._rng.chance(0.5))
            try:
                await (self._delete(name) if deletes else self._create(name))
                self.states[name] = "deleted" if deletes else "made"
            except TopicExistsError:
                self._note(name, "made", state)
            except UnknownTopicError:
                self._note(name, "deleted", state)
            except LogdError as error:
                self.states[name] = "unknown"
                world.trace(f"{name}: {error.code.name}")
                continue
            world.trace(f"{name} {self.states[name]}")
        await self._admin.close()

    async def _create(self, name: str) -> None:
        await self._admin.create_topic(
            name,
            partitions=self._rng.randint(1, 3),
            replication_factor=-1,
            config=CONFIG,
            exist_ok=False,
            validate_only=False,
        )

    async def _delete(self, name: str) -> None:
        await self._admin.delete_topic(name)
        self._world.sometimes("topic deleted")

    def _note(self, name: str, found: State, known: State) -> None:
        """The node refused because the topic is there already, or not there any more."""
        if known not in ("unknown", found):
            self._world.problems.append(f"metadata-lost: {name} was {known}, is {found}")
        self.states[name] = found

    async def check(self) -> None:
        """Hold what is there in the end against what was answered."""
        admin = AdminEngine(
            self._world.network.transport("check"),
            self._world.client_clock,
            self._world.rng.child("scratch check"),
            ClusterConfig(bootstrap_servers=self._world.bootstrap),
        )
        there = {topic.name for topic in await admin.describe_topics([])}
        for name, state in self.states.items():
            if state != "unknown":
                self._note(name, "made" if name in there else "deleted", state)
        await admin.close()
