"""The drivers: the only place where machines, storage and the outside world meet."""
