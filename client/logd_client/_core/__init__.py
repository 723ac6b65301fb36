"""Decisions of the client, without I/O: no asyncio, threads, clock or gRPC."""
