"""Benchmarks: workloads, one JSON result a run, and a report page."""
