"""Clients under measurement, each a worker process in the environment of what it drives.

    python -m bench.drivers.NAME TASK        TASK: bench.task.Task as JSON

A worker prints `ready` when it is connected and warm, waits for a line, measures, and prints its
Outcome as one line of JSON.
"""
