"""Write docs/metrics.md from the catalogue of metrics; with `--check` only compare."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from logd.observe import METRICS, Metric

TARGET = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"

_HEAD = """# Health and metrics

Written by `python -m tools.gen_metrics` from the catalogue in `logd/observe`; do not edit.

A node answers over HTTP on its admin port, `listeners.admin` (127.0.0.1:7180):

| Path | Answer |
| --- | --- |
| `/healthz`, `/livez` | 200 as long as the process answers at all: restart it when it does not. |
| `/readyz` | 200 when the node can do its work, else 503; the JSON body lists the `reasons`, \
each with a `name` for programs and a `message` for people. Send clients elsewhere meanwhile. |
| `/metrics` | What is below, for Prometheus; OpenMetrics where `Accept` asks for it. |

The port answers from before the start until after the stop, so that a long recovery can be told
from a dead process. There is nothing to write on it. It has no encryption and no authentication:
leave it on the loopback interface unless the network is trusted. What it says of health names no
topic, no path and nothing that clients sent; the metrics name topics.

When `listeners.admin` is not configured and its port is taken, as by another node on the same
machine, the node takes a free port and logs it: nobody asked for this one. A configured address
that is taken ends the start with an error; port 0 is any free port; empty is no port. Name the port
of each node where something scrapes several nodes of one machine.

`logd cluster health --local` asks `/readyz` and says in words and with its exit code what it found,
which is all that a container's health check needs; without `--local` it asks the whole cluster over
gRPC, as its clients see it.

## Reasons not to be ready

| Name | Meaning |
| --- | --- |
| `starting` | The node recovers what is on its disk. |
| `no_cluster` | It has waited for 30 s or more for nodes that are not there, and still waits: the \
message names them and says what to do. |
| `joining` | It waits for the cluster, follows the metadata log to its end, opens its partitions, \
and is not counted on yet. |
| `no_leader` | No leader of the metadata quorum is known. |
| `not_caught_up` | The metadata log is not applied to its end yet. |
| `not_registered` | The cluster does not list this node. |
| `fenced` | The controller does not count on this node: it leads and acknowledges nothing. |
| `no_session` | The controller does not answer this node, which has fenced itself. |
| `disk_full` | Less than `disk.free_bytes_min` is free; produce is refused, reading goes on. |
| `disk_stalled` | A write or sync has been under way for more than five seconds. |
| `disk_silent` | The disk did not tell its free space within two seconds. |
| `failed` | A storage error ended the node; it is about to exit. |
| `stopping` | The node was told to stop. |

## Metrics

Series by `topic` and by `partition` can be switched off (`metrics.per_partition`) and are bounded
(`metrics.partitions_max`): the first topics, and the first partitions, have series of their own.
The traffic of all other topics is counted together under `topic=""`, so that a sum over all topics
is that of the node. A topic's series end with its last partition here. There are no labels with
names of clients. Counters begin at 0 with every start of the node.

| Name | Type | Labels | Meaning |
| --- | --- | --- | --- |
"""

_TAIL = """
Besides there are `process_*` and `python_gc_*` of prometheus-client.

## To be alerted by

| When | Expression |
| --- | --- |
| a node is not ready | `logd_node_up == 0 or absent(logd_node_up)` |
| there are partitions without a leader | `max(logd_cluster_leaderless_partitions) > 0` |
| acks=all is refused for want of replicas | `max(logd_cluster_under_min_isr_partitions) > 0` |
| replicas are behind for five minutes | `max(logd_cluster_under_replicated_partitions) > 0` |
| the disk fills up | `logd_disk_free_bytes < 4 * logd_disk_free_min_bytes` |
| data are damaged | `logd_damaged_partitions > 0` |
| syncs are slow | `histogram_quantile(0.99, rate(logd_fsync_duration_seconds_bucket[5m])) > 0.1` |
"""


def render() -> str:
    """Return the text of the page."""
    return _HEAD + "".join(map(_row, METRICS.values())) + _TAIL


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    meaning = metric.doc.replace("|", "\\|")
    return f"| `{metric.name}` | {metric.kind.value} | {labels} | {meaning} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the page is stale")
    text = render()
    if parser.parse_args().check:
        if not TARGET.exists() or TARGET.read_text() != text:
            sys.exit("docs/metrics.md is stale: run 'python -m tools.gen_metrics'")
        return
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
