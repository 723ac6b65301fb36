"""A worker: reads user events as a member of a group and applies them to a database.

    python examples/user_events/worker.py --bootstrap localhost:7171 --database events.db

Start as many as there are partitions. All events of a user have the user's name as key, so they
are in one partition and are applied in order. The offset is committed only after the database has
the records; what is applied and not committed comes again, and is recognized.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from logd_client import Batch, Consumer, TopicPartition, on_error
from store import Store


def health_of(consumer: Consumer[bytes, bytes]) -> dict[str, Any]:
    """What this worker reads, and how far it is."""
    status = consumer.status()
    return {
        "state": status.state,
        "group": status.group_id,
        "member": status.member_id,
        "heartbeat_age_ms": status.heartbeat_age_ms,
        "partitions": [
            {
                "topic": topic,
                "partition": partition,
                "position": found.position,
                "committed": found.committed,
                "lag": found.lag,
            }
            for (topic, partition), found in sorted(status.partitions.items())
        ],
    }


def serve_health(consumer: Consumer[bytes, bytes], port: int) -> ThreadingHTTPServer:
    """GET /health on a thread of its own: 200 while the worker is a member, else 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/health":
                self.send_error(404)
                return
            health = health_of(consumer)
            body = json.dumps(health).encode()
            self.send_response(200 if health["state"] == "stable" else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            logging.getLogger("health").debug(format, *args)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", default="localhost:7171")
    parser.add_argument("--topic", default="user-events")
    parser.add_argument("--group", default="user-events")
    parser.add_argument("--database", default="events.db")
    parser.add_argument("--health-port", type=int, default=0)
    parser.add_argument("--session-timeout-ms", type=int, default=45_000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")

    store = Store(options.database)
    consumer = Consumer(
        bootstrap_servers=options.bootstrap,
        group_id=options.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=options.session_timeout_ms,
        max_poll_records=100,
    )

    def handle(batch: Batch[bytes, bytes]) -> None:
        store.write(batch)
        batch.resolve(batch.records[-1])
        # Only now: the database has them.
        batch.commit()

    def gone(partitions: list[TopicPartition]) -> None:
        logging.getLogger("worker").info("gives up %s; all of it is committed", partitions)

    with consumer:
        consumer.subscribe([options.topic], on_revoke=gone)
        server = serve_health(consumer, options.health_port)
        print(f"http://127.0.0.1:{server.server_port}/health", flush=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: consumer.wakeup())
        consumer.run(each_batch=handle, on_error=on_error.retry(5, backoff=0.2))
        server.shutdown()
    store.close()


if __name__ == "__main__":
    main()
