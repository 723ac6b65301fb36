"""How each system is started: this project's nodes, the sketch, Kafka, NATS, RabbitMQ and Redis.

`durability` is `none` (the operating system writes when it likes), `sync` (synced before every
acknowledgement) or `default` (as the system comes). Data lies in the folder of `processes`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

from logd_client import Admin
from logd_wire.errors import LogdError

from bench import install
from bench.servers.process import HOST, Processes, ServerError, free_ports

ROOT = Path(__file__).resolve().parent.parent.parent
_UP_SECONDS = 60.0


def own_environment() -> dict[str, str]:
    """What a child needs to import this checkout."""
    path = [str(ROOT), str(ROOT / "client"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def start_logd(processes: Processes, durability: str, nodes: int) -> str:
    """Nodes as `logd serve` runs them; `default` changes no setting."""
    ports = free_ports(2 * nodes)
    peers = ", ".join(f'"{n + 1}@{HOST}:{ports[nodes + n]}"' for n in range(nodes))
    flush = {"none": "none", "sync": "batch"}.get(durability)
    for number in range(nodes):
        config = processes.folder / f"node-{number + 1}.toml"
        data = processes.folder / f"data-{number + 1}"
        lines = [
            f'[node]\nid = {number + 1}\ndata_dir = "{data}"',
            f'[listeners]\ngrpc = "{HOST}:{ports[number]}"',
        ]
        if nodes > 1:
            lines.append(f'peer = "{HOST}:{ports[nodes + number]}"\n[cluster]\npeers = [{peers}]')
        if flush:
            lines.append(f'[topic_defaults]\nflush = "{flush}"')
        config.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "logd", "serve", "--config", str(config)]
        processes.start(f"node-{number + 1}", command, own_environment())
    for port in ports[:nodes]:
        processes.wait_for_port(port)
        _wait_in_service(processes, f"{HOST}:{port}", nodes)
    return ",".join(f"{HOST}:{port}" for port in ports[:nodes])


def _wait_in_service(processes: Processes, address: str, nodes: int) -> None:
    deadline = time.monotonic() + _UP_SECONDS
    while True:
        try:
            with Admin(address, request_timeout_ms=2_000) as admin:
                known = admin.describe_cluster()
            if sum(not node.fenced for node in known.nodes) == nodes:
                return
            missing = f"{nodes} nodes are not in service"
        except LogdError as error:
            missing = str(error)
        processes.check()
        if time.monotonic() > deadline:
            raise ServerError(f"{address}: {missing}")
        time.sleep(0.1)


def start_sketch(processes: Processes, durability: str, _nodes: int) -> str:
    (port,) = free_ports(1)
    path = processes.folder / "sketch.log-data"
    sync = "nosync" if durability == "none" else "sync"
    command = [sys.executable, "-m", "bench.servers.sketch", str(port), sync, str(path)]
    processes.start("sketch", command, own_environment())
    processes.wait_for_port(port)
    return f"{HOST}:{port}"


_JVM = (
    "-server",
    "-Xms1G",
    "-Xmx1G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
)


def kafka_command(main_class: str, *options: str) -> list[str]:
    """A command of Kafka's, with the options of the Java machine that its own scripts use."""
    return ["java", *options, "-cp", f"{install.kafka_libraries()}/*", main_class]


def start_kafka(processes: Processes, durability: str, nodes: int) -> str:
    """Kafka in KRaft mode, each node broker and controller; `sync` is flush.messages=1."""
    ports = free_ports(2 * nodes)
    voters = ",".join(f"{n + 1}@{HOST}:{ports[nodes + n]}" for n in range(nodes))
    cluster_id = urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    for number in range(nodes):
        settings = {
            "process.roles": "broker,controller",
            "node.id": number + 1,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{HOST}:{ports[number]},"
            f"CONTROLLER://{HOST}:{ports[nodes + number]}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": processes.folder / f"data-{number + 1}",
            "offsets.topic.replication.factor": nodes,
            "default.replication.factor": nodes,
            "min.insync.replicas": 2 if nodes > 1 else 1,
        }
        if durability == "sync":
            settings["log.flush.interval.messages"] = 1
        file = processes.folder / f"kafka-{number + 1}.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        form = kafka_command("kafka.tools.StorageTool")
        done = subprocess.run(
            [*form, "format", "-t", cluster_id, "-c", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"Kafka's storage cannot be formatted: {done.stdout[-300:]}")
        command = [*kafka_command("kafka.Kafka", *_JVM), str(file)]
        processes.start(f"kafka-{number + 1}", command)
    for port in ports[:nodes]:
        processes.wait_for_port(port)
    return ",".join(f"{HOST}:{port}" for port in ports[:nodes])


def start_nats(processes: Processes, durability: str, _nodes: int) -> str:
    (port,) = free_ports(1)
    file = processes.folder / "nats.conf"
    sync = "  sync_interval: always\n" if durability == "sync" else ""
    file.write_text(
        f'listen: "{HOST}:{port}"\n'
        f'jetstream {{\n  store_dir: "{processes.folder / "data"}"\n'
        f"  max_file_store: 50GB\n{sync}}}\n"
    )
    processes.start("nats", [str(install.nats_server()), "-c", str(file)])
    processes.wait_for_port(port)
    return f"{HOST}:{port}"


def start_redis(processes: Processes, durability: str, _nodes: int) -> str:
    """`none` writes the append-only file without syncs; `default` has no such file."""
    (port,) = free_ports(1)
    root = install.debian_root() / "usr"
    command = [str(root / "bin" / "redis-server"), "--port", str(port), "--bind", HOST]
    command += ["--dir", str(processes.folder)]
    if durability != "default":
        policy = "always" if durability == "sync" else "no"
        command += ["--appendonly", "yes", "--appendfsync", policy, "--save", ""]
    libraries = next(root.glob("lib/*-linux-gnu"))
    processes.start("redis", command, {"LD_LIBRARY_PATH": str(libraries)})
    processes.wait_for_port(port)
    return f"{HOST}:{port}"


def start_rabbitmq(processes: Processes, _durability: str, _nodes: int) -> str:
    """One broker with streams. A stream is never synced, a quorum queue always is."""
    amqp, stream, names, between = free_ports(4)
    folder, root = processes.folder, install.debian_root() / "usr"
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {HOST}:{amqp}\nstream.listeners.tcp.1 = {HOST}:{stream}\n"
        "log.console = true\nlog.console.level = warning\nlog.file = false\n"
    )
    (folder / "advanced.config").write_text("[{kernel,[{inet_dist_use_interface,{127,0,0,1}}]}].\n")
    (folder / "enabled_plugins").write_text("[rabbitmq_stream].\n")
    erlang, home = root / "lib" / "erlang", next(root.glob("lib/rabbitmq/lib/rabbitmq_server-*"))
    environment = {
        "HOME": str(folder),
        "PATH": f"{erlang / 'bin'}:{os.environ['PATH']}",
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_HOME": str(home),
        "RABBITMQ_NODENAME": "bench@localhost",
        "RABBITMQ_DIST_PORT": str(between),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "plugins"),
    }
    epmd = [str(erlang / "bin" / "epmd"), "-address", HOST, "-port", str(names)]
    processes.start("epmd", epmd, environment)
    processes.start("rabbitmq", ["sh", str(home / "sbin" / "rabbitmq-server")], environment)
    for port in (stream, amqp):
        processes.wait_for_port(port)
    return f"{HOST}:{stream}:{amqp}"


#: System -> (how it starts, the parts of `bench.install` that it needs).
SYSTEMS: dict[str, tuple[Callable[[Processes, str, int], str], tuple[str, ...]]] = {
    "logd": (start_logd, ()),
    "sketch": (start_sketch, ()),
    "kafka": (start_kafka, ("clients", "kafka")),
    "nats": (start_nats, ("clients", "nats")),
    "redis": (start_redis, ("clients", "redis")),
    "rabbitmq": (start_rabbitmq, ("clients", "rabbitmq")),
}
