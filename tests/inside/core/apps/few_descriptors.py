"""The service with as many file descriptors as the variable LIMIT says."""

import os
import resource
import sys

from app.__main__ import main

if __name__ == "__main__":
    limit = int(os.environ["LIMIT"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    sys.argv = ["app", "serve"]
    sys.exit(main())
