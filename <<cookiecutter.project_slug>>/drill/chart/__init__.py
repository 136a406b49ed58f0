"""The chart, rendered and read."""
