"""What `python -m bench.alone` measures: rows of `logd bench` arguments."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One run. `target` is what the project asks of it, in words; empty: for information."""

    name: str
    arguments: str
    target: str = ""
    #: (figure, limit): the figure must not be above (`<=`) or below (`>=`) it.
    limit: tuple[str, str, float] | None = None


def _cpu(us: float) -> tuple[str, str, float]:
    return ("client_cpu_us_per_record", "<=", us)


HALF_OF_BARE = ("ratio_to_bare", ">=", 0.5)

ROWS: tuple[Row, ...] = (
    Row(
        "produce-1KiB",
        "produce --size 1024 --records 300000 --api send_many --batch-size 262144",
        "at least half of a bare gRPC stream",
        HALF_OF_BARE,
    ),
    Row(
        "consume-1KiB",
        "consume --size 1024 --records 300000 --batch-size 262144",
        "at least half of a bare gRPC stream",
        HALF_OF_BARE,
    ),
    Row("send-100B", "produce --size 100", "at most 4 us a record", _cpu(4)),
    Row(
        "send-100B-key",
        "produce --size 100 --key-bytes 10",
        "at most 6 us a record",
        _cpu(6),
    ),
    Row(
        "send_many-100B",
        "produce --size 100 --api send_many --records 2000000",
        "at most 2 us a record",
        _cpu(2),
    ),
    Row(
        "getmany-100B",
        "consume --size 100 --records 2000000",
        "at most 2.5 us a record",
        _cpu(2.5),
    ),
    Row("iterate-100B", "consume --size 100 --api iterate"),
    Row("send-100B-acks1", "produce --size 100 --acks 1"),
    Row("send-100B-acks0", "produce --size 100 --acks 0"),
    Row("send-100B-zstd", "produce --size 100 --compression zstd"),
    *(
        Row(f"send-100B-{count}-partitions", f"produce --size 100 --partitions {count}")
        for count in (10, 100, 1000)
    ),
    *(
        Row(f"getmany-100B-{count}-partitions", f"consume --size 100 --partitions {count}")
        for count in (10, 100, 1000)
    ),
    Row("e2e-100B-1000-a-second", "e2e --size 100 --rate 1000 --records 10000"),
    Row("e2e-100B-20000-a-second", "e2e --size 100 --rate 20000 --records 200000"),
)
