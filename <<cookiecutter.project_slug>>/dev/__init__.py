"""For those who work on the service; no part of it."""
