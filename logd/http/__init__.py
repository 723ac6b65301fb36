"""The admin port: health and metrics of one node over HTTP/1.1, to be read and nothing else."""
