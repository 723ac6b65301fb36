"""A cluster of processes on this machine, for `logd dev`."""
