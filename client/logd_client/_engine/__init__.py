"""asyncio drivers between the core and a transport; the same code runs in a simulation."""
