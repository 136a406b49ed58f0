"""Small services for the tests. Each runs as ``app serve`` does, with parts of its own."""
