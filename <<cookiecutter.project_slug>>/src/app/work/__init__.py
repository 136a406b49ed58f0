"""Work that outlives a request: a buffer in front of a slow sink, and an outbox."""
