"""Clients of the metadata: topics made, altered, deleted and read; and an operator of nodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_client.values import TopicInfo
from logd_wire.errors import ErrorCode, LogdError, TopicExistsError, UnknownTopicError

from logd.model.ids import NodeId
from logd.testing.cluster import address_of
from tests.sim.quorum.truth import MARK, Command, Kind

if TYPE_CHECKING:
    from tests.sim.quorum.machine import Machine
    from tests.sim.quorum.simulation import Simulation

NAMES = ("a", "b", "c")
PATIENCE_MS = 2_500.0
#: Errors that leave open what became of a command.
UNKNOWN = frozenset(
    {
        ErrorCode.OUTCOME_UNKNOWN,
        ErrorCode.BOOTSTRAP,
        ErrorCode.NETWORK,
        ErrorCode.TIMEOUT,
        ErrorCode.REQUEST_TIMED_OUT,
    }
)


def connect(world: Simulation, name: str, *node_ids: int) -> AdminEngine:
    """An admin client that begins with these nodes."""
    addresses = tuple(address_of(node_id) for node_id in node_ids)
    config = ClusterConfig(bootstrap_servers=addresses, request_timeout_ms=PATIENCE_MS)
    transport = world.network.transport(name)
    return AdminEngine(transport, world.client_clock, world.rng.child(f"client/{name}"), config)


class Client:
    """Gives commands one after the other, and notes what it is told."""

    def __init__(self, world: Simulation, name: str, *node_ids: int) -> None:
        self._world = world
        self.name = name
        self._rng = world.rng.child(f"load/{name}")
        self.admin = connect(world, name, *node_ids)

    async def run(self) -> None:
        """Until the world is at peace."""
        kinds: tuple[Kind, ...] = ("create", "create", "alter", "alter", "delete", "read", "read")
        while self._world.faulty:
            await asyncio.sleep(self._rng.exponential(0.08, 0.5))
            await self.do(self._rng.choice(kinds), self._rng.choice(NAMES))
        await self.admin.close()

    async def do(self, kind: Kind, name: str) -> Command:
        """Give one command."""
        world = self._world
        command = world.truth.begin(self.name, kind, name)
        try:
            found = await self._give(command)
        except TopicExistsError:
            world.truth.end(command, "exists")
            world.sometimes("command refused")
        except UnknownTopicError:
            world.truth.end(command, "absent")
            world.sometimes("command refused")
        except LogdError as error:
            unknown = error.code in UNKNOWN
            world.truth.end(command, "unknown" if unknown else "refused")
            world.sometimes("command unknown" if unknown else "command refused")
            world.trace(f"{self.name}: {error.code.name} {error.message}")
        else:
            mark = "" if found is None else found.config.get(MARK, "")
            world.truth.end(command, "ok", mark)
            read = kind == "read"
            world.sometimes("linearizable read answered" if read else "command acknowledged")
        world.trace(f"command {command}")
        return command

    async def _give(self, command: Command) -> TopicInfo | None:
        admin, name = self.admin, command.name
        if command.kind == "delete":
            await admin.delete_topic(name)
            return None
        if command.kind == "create":
            return await admin.create_topic(
                name,
                partitions=1,
                replication_factor=-1,
                config={MARK: command.mark},
                exist_ok=False,
                validate_only=False,
            )
        # A change that changes nothing: the leader answers when it is sure that it leads.
        return await admin.alter_topic(
            name,
            set_config={MARK: command.mark} if command.kind == "alter" else {},
            delete_config=(),
            partitions=0,
            validate_only=command.kind == "read",
        )


class Operator(Client):
    """Adds, removes and replaces nodes, one after the other."""

    async def operate(self) -> None:
        """Until the world is at peace; what was begun is finished."""
        world = self._world
        demands = [name for name in ("add", "remove", "replace") if name in world.plan.every]
        while world.faulty and demands:
            await asyncio.sleep(self._rng.exponential(1.0, 3.0))
            name = self._rng.choice(demands)
            world.trace(f"operator {name}")
            await getattr(self, f"_{name}")()
        await self.admin.close()

    async def _attempt(self, what: str, times: int, call: str, *values: object) -> bool:
        for _ in range(times):
            try:
                voters = await getattr(self.admin, call)(*values)
            except LogdError as error:
                self._world.trace(f"{what}: {error.code.name} {error.message}")
            else:
                self._world.trace(f"{what}: voters {voters}")
                return True
            await asyncio.sleep(0.5)
        return False

    async def _add(self) -> None:
        """Start another node and make it a voter."""
        world = self._world
        if len(world.machines) >= world.plan.voters + 2:
            return
        node_id = NodeId(max(world.members) + 1)
        world.start_machine(node_id, world.first_ids)
        if await self._attempt(f"add {node_id}", 6, "add_node", node_id):
            world.sometimes("node added")

    def _candidate(self) -> Machine | None:
        """A member that the others can do without."""
        world = self._world
        image = world.truth.image
        known = [each for each in world.machines if each.node_id in image.nodes]
        leading = [each for each in known if each.leads]
        known = leading if leading and self._rng.chance(0.3) else known
        return self._rng.choice(known) if known and len(image.voters) >= 2 else None

    async def _remove(self) -> None:
        """Take a node out for good."""
        world, machine = self._world, self._candidate()
        if machine is None:
            return
        node_id, image = machine.node_id, world.truth.image
        directory_id = image.nodes[node_id].directory_id
        for topic in image.topics.values():
            if any(node_id in part.replicas for part in topic.partitions):
                await self.do("delete", topic.name)
        if machine.leads:
            world.sometimes("voter removed while it leads")
        if await self._attempt(f"remove {node_id}", 3, "remove_node", node_id, directory_id):
            if directory_id not in world.truth.image.removed:
                world.fail(f"lost: node {node_id} was removed, and is there")
            world.sometimes("node removed")
            machine.end(retire=True)

    async def _replace(self) -> None:
        """A node loses its disk, and comes back with an empty one."""
        world, machine = self._world, self._candidate()
        if machine is None or len(world.truth.image.voters) < 3:
            return
        node_id = machine.node_id
        directory_id = world.truth.image.nodes[node_id].directory_id
        machine.end(retire=True)
        while directory_id not in world.truth.image.removed:
            try:
                await self.admin.replace_node(node_id, directory_id, accept_data_loss=True)
            except LogdError as error:
                world.trace(f"replace {node_id}: {error.code.name} {error.message}")
            await asyncio.sleep(0.3)
        world.sometimes("node replaced")
        # Who founded the cluster alone would found another one if nobody else were named.
        world.start_machine(node_id, world.truth.image.nodes)
