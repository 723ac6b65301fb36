"""Decisions of the client, without I/O: no asyncio, threads, clock, randomness or gRPC of its own."""
