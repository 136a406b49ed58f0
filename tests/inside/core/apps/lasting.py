"""The service in a process that goes on after it, as one that embeds or tests it does."""

import sys
import time

from app.__main__ import main
from app.lifecycle.watchdog import CLOSING

sys.argv[1:] = ["serve"]
code = main()
time.sleep(2 * CLOSING)
sys.exit(code or "the process goes on")
