"""Logs: what the service tells about itself."""
