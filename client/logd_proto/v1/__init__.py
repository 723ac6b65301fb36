"""Generated from `proto/logd/v1`; do not edit."""
