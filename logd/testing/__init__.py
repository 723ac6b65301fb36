"""A whole node inside one test: memory files, an in-memory network and a virtual clock."""
