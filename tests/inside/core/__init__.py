import os

# The faults of the examples are switched on for the tests of the machinery.
os.environ.setdefault("EXAMPLES_FAULTS", "true")
