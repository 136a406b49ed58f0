"""Traces: a collector that keeps what it gets, and collectors that fail."""
