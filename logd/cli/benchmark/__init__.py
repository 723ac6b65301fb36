"""`logd bench`: workloads against a node, beside a bare gRPC stream of the same payloads."""
