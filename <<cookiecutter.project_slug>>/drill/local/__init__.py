"""The local backend: a cluster of processes on this machine."""
