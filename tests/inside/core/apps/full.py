"""``stragglers`` with a log on a full disk."""

import os
import sys

from tests.apps.runner import run
from tests.apps.stragglers import app

if __name__ == "__main__":
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    sys.exit(run(app))
