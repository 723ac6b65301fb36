"""Generated protocol messages of logd; see `proto/`."""
