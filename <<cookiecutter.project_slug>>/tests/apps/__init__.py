"""Small services for the tests. Each runs as ``python -m app serve`` does, with parts of its own."""
