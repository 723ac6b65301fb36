"""The gRPC edge: translates protocol messages to driver calls and back."""
