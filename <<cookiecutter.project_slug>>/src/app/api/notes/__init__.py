"""Notes: an example of a resource. Delete this folder, its revision and test, and its line in ``main.py``."""
