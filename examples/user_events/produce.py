"""Makes up user events.

python examples/user_events/produce.py --bootstrap localhost:7171 --events 1000 --users 20
"""

from __future__ import annotations

import argparse
import random

from logd_client import Producer, json_serializer

KINDS = ("visit", "order", "refund")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", default="localhost:7171")
    parser.add_argument("--topic", default="user-events")
    parser.add_argument("--events", type=int, default=1_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with Producer(options.bootstrap, value_serializer=json_serializer) as producer:
        for _ in range(options.events):
            event = {"kind": dice.choice(KINDS), "amount": dice.randrange(-50, 100)}
            producer.send(options.topic, event, key=f"user-{dice.randrange(options.users)}")


if __name__ == "__main__":
    main()
