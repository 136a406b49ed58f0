"""Notes: an example of a resource. It goes with this folder and its line in ``main.py``."""
