"""A cluster of local processes: nothing to install, no root."""
