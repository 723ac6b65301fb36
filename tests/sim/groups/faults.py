"""What goes wrong with a group in one run: with its members, its coordinator, and between them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logd_client._core.group_member import Subscription
from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_wire.errors import LogdError

from logd.model.names import GROUP_TOPIC
from logd.runtime.group_coordinator import partition_of
from logd.testing.clock import SimClock
from logd.testing.disk import DiskLatency
from logd.testing.network import LinkProfile
from logd.testing.process import SimProcess
from logd.testing.rng import SimRng
from tests.sim.groups.members import SUBSCRIPTIONS, Application, Slot
from tests.sim.groups.topics import Topics
from tests.sim.groups.world import ALL_TOPICS, CallFaults, GroupWorld
from tests.sim.replicas.faults import Nemesis, Plan

#: After so long the controller takes a node for gone.
NODE_SESSION_MS = 1_500
NODE_FAULTS = (
    "kill_coordinator",
    "lose_slow_coordinator",
    "stop_coordinator",
    "cut_coordinator_off",
    "move_coordinator",
    "power_loss",
    "kill",
    "all_lose_power",
    "reset",
    "stall",
    "slow_disk",
)
MEMBER_FAULTS = (
    "kill_member",
    "freeze",
    "leave",
    "rejoin",
    "resubscribe",
    "busy",
    "cut_member_off",
    "twin",
)
CALL_FAULTS = ("lost_calls", "late_calls", "doubled_calls")
#: These come on top of those that a seed has had all along.
ADDED = ("grow_topic", "remake_topic", "seek", "seek_on_assign", "by_pattern")
FAULTS = (*NODE_FAULTS, *MEMBER_FAULTS, *CALL_FAULTS, *ADDED)
#: Those that are no acts.
CHANCES = (*CALL_FAULTS, "seek_on_assign", "by_pattern")
BY_PATTERN = Subscription((), "orders|ev.*")


@dataclass(frozen=True, slots=True)
class GroupPlan(Plan):
    """The figures of one seed. `slots`: members; `static`: so many of them."""

    nodes: int
    slots: int
    static: int
    session_ms: int
    rebalance_ms: int
    commit_interval_ms: float
    calls: CallFaults
    seek_on_assign: float
    subscription: Subscription


def draw_plan(rng: SimRng, only: tuple[str, ...] = ()) -> GroupPlan:
    """Each fault is in with a chance of a half, so that seeds differ in kind; or `only` these."""
    drawn = tuple(name for name in FAULTS if name not in ADDED and rng.chance(0.5))
    added = rng.child("added")
    drawn += tuple(name for name in ADDED if added.chance(0.5))
    faults = only or drawn
    slots = rng.randint(2, 5)
    session_ms = rng.choice((1_500, 3_000))
    chances = {name: rng.choice((0.03, 0.1, 0.25)) for name in CALL_FAULTS}
    late_ms_mean = session_ms * rng.choice((0.1, 0.4))
    return GroupPlan(
        faults=tuple(name for name in faults if name not in CHANCES),
        pause_mean=rng.choice((0.5, 1.0, 2.0)),
        link=LinkProfile(delay_ms_mean=rng.uniform(0.1, 5)),
        latency=DiskLatency(write_ms=0.05, sync_ms=rng.uniform(0.2, 5)),
        restart_max=rng.choice((0.05, 0.5, 2.0)),
        segment_bytes=1 << 20,
        producers=rng.randint(1, 2),
        consumers=0,
        nodes=rng.choice((1, 3)),
        slots=slots,
        static=rng.randint(0, slots),
        session_ms=session_ms,
        rebalance_ms=rng.choice((1_000, 4_000)),
        commit_interval_ms=rng.choice((50.0, 500.0, 3_000.0)),
        calls=CallFaults(
            **{
                field: chances[name]
                for field, name in (
                    ("lost", "lost_calls"),
                    ("late", "late_calls"),
                    ("doubled", "doubled_calls"),
                )
                if name in faults
            },
            late_ms_mean=late_ms_mean,
        ),
        seek_on_assign=added.choice((0.1, 0.5)) if "seek_on_assign" in faults else 0.0,
        subscription=BY_PATTERN if "by_pattern" in faults else ALL_TOPICS,
    )


class GroupNemesis(Nemesis):
    """That of nodes that copy partitions, who knows a coordinator and members, too."""

    def __init__(
        self,
        plan: GroupPlan,
        world: GroupWorld,
        *,
        rng: SimRng,
        processes: Mapping[int, SimProcess],
        clock: SimClock,
        slots: Sequence[Slot],
        topics: Topics,
    ) -> None:
        super().__init__(
            plan,
            rng=rng,
            trace=world.trace,
            processes=processes,
            network=world.network,
            clock=clock,
            sometimes=world.sometimes,
        )
        self._world = world
        self._slots = slots
        self._topics = topics
        #: Lives whose place another one has taken.
        self._twins: list[Application] = []
        self._admin: AdminEngine | None = None

    def heal(self) -> None:
        """Take back what lasts; members are as they began."""
        super().heal()
        self._world.calls = CallFaults()
        self._world.seek_on_assign = 0.0
        for twin in self._twins:
            self._world.freezer.thaw(twin)
            twin.leaving = True
        for slot in self._slots:
            app = slot.current
            if app is not None and not app.gone.is_set():
                self._world.freezer.thaw(app)
                app.subscription = self._world.subscription
                app.seeking = False

    # --- the coordinator ---------------------------------------------------------------------

    def coordinator(self) -> SimProcess:
        """The node that coordinates the group; any other while none does."""
        number = partition_of(self._world.group_id)
        for process in self._processes.values():
            if process.up and any(
                each.is_led_here and each.topic == GROUP_TOPIC and each.id.partition == number
                for each in process.node._partitions.all()
            ):
                return process
        return self._one()

    def _kill_coordinator(self) -> None:
        self._sometimes("coordinator killed")
        self._crash(self.coordinator(), power_loss=self._rng.chance(0.5))

    async def _lose_slow_coordinator(self) -> None:
        """Its disk is slow to sync, and then its power is gone."""
        self._sometimes("coordinator lost with a slow disk")
        process = self.coordinator()
        process.set_latency(DiskLatency(write_ms=1.0, sync_ms=self._rng.uniform(200, 900)))
        await self._clock.sleep_ms(self._rng.uniform(100, 1500))
        self._crash(process, power_loss=True)
        process.set_latency(self._plan.latency)

    async def _stop_coordinator(self) -> None:
        process = self.coordinator()
        if process.up:
            self._sometimes("coordinator stopped")
            await asyncio.shield(process.loop.create_task(process.stop(), name="sigterm"))
            self._sometimes("clean stop")

    async def _cut_coordinator_off(self) -> None:
        """It reaches no other node, and members reach it still; another one coordinates."""
        self._sometimes("coordinator cut off")
        one = self.coordinator()
        others = [each for each in self._processes.values() if each is not one]
        await self._apart(
            [(one.name, each.peer_address) for each in others]
            + [(each.name, one.peer_address) for each in others],
            longest_ms=4 * (NODE_SESSION_MS + self._world.session_ms),
        )

    async def _move_coordinator(self) -> None:
        """Another node leads the group's partition, in good order."""
        if len(self._processes) == 1:
            return
        admin = self._admin = self._admin or AdminEngine(
            self._network.transport("mover"),
            self._world.client_clock,
            self._rng.child("mover"),
            ClusterConfig(bootstrap_servers=self._world.bootstrap, request_timeout_ms=1_000.0),
        )
        number, target = partition_of(self._world.group_id), self._rng.choice(list(self._processes))
        try:
            await admin.transfer_leader(GROUP_TOPIC, number, target)
            self._sometimes("coordinator moved")
        except LogdError as error:
            self._trace(f"not moved: {error}")

    # --- members -----------------------------------------------------------------------------

    def _member(self) -> tuple[Slot, Application] | None:
        slot = self._rng.choice(self._slots)
        app = slot.current
        if app is None or app.gone.is_set() or self._world.freezer.is_frozen(app):
            return None
        self._trace(f"at {app.name}")
        return slot, app

    def _kill_member(self) -> None:
        if (found := self._member()) is not None:
            self._sometimes("member killed")
            found[0].kill()

    def _freeze(self) -> None:
        """It stops and goes on later, perhaps after its session; meanwhile other faults come."""
        if (found := self._member()) is None:
            return
        _, app = found
        session_s = self._world.session_ms / 1000
        seconds = self._rng.uniform(0.1, 2.5) * session_s
        self._sometimes("member frozen")
        if seconds > session_s:
            self._sometimes("member frozen past its session")
        self._world.freezer.freeze(app)
        self._world.loop.call_later(seconds, self._thaw, app)

    def _thaw(self, app: Application) -> None:
        if not app.gone.is_set():
            self._trace(f"thaw {app.name}")
            self._world.freezer.thaw(app)

    def _leave(self) -> None:
        if (found := self._member()) is not None:
            self._sometimes("member left")
            found[1].leaving = True

    def _rejoin(self) -> None:
        if (found := self._member()) is not None:
            self._sometimes("member joined again")
            found[1].rejoining = True

    def _resubscribe(self) -> None:
        if (found := self._member()) is not None:
            self._sometimes("subscription changed")
            found[1].subscription = self._rng.choice(SUBSCRIPTIONS)

    def _seek(self) -> None:
        if (found := self._member()) is not None:
            found[1].seeking = True

    def _grow_topic(self) -> None:
        self._topics.begin(self._topics.grow)

    def _remake_topic(self) -> None:
        self._topics.begin(self._topics.remake)

    def _busy(self) -> None:
        if (found := self._member()) is not None:
            self._sometimes("handler takes long")
            found[1].busy_ms = self._rng.uniform(0.3, 2.0) * self._world.rebalance_ms

    async def _cut_member_off(self) -> None:
        """Nothing comes from it, or to it."""
        if (found := self._member()) is None:
            return
        self._sometimes("member cut off")
        name = found[1].name
        await self._apart([(name, process.address) for process in self._processes.values()])

    def _twin(self) -> None:
        """A static member hangs, another process takes its place, and the first one comes back."""
        if (found := self._member()) is None or not found[0].static:
            return
        self._sometimes("twin of a static member")
        slot, app = found
        self._world.freezer.freeze(app)
        self._world.loop.call_later(
            self._rng.uniform(0.5, 4.0) * self._world.session_ms / 1000, self._thaw, app
        )
        self._twins.append(app)
        slot.replace()
