"""Asks the service by way of its Service: 20 answers in a row, on new connections.

`helm test` runs it in the service's image. URL says what to ask.
"""

import os
import sys
import time
import urllib.error
import urllib.request

url = os.environ["URL"]
wanted = 20
deadline = time.monotonic() + 30
got = 0
while got < wanted:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            answer.read()
            got += 1
    except (urllib.error.URLError, OSError) as error:
        # A node may hear late of a Service that is new: only a row without a hole counts.
        print(f"{url}: {error}", flush=True)
        got = 0
        if time.monotonic() > deadline:
            sys.exit(f"{url} does not answer")
        time.sleep(1)
print(f"{url}: {got} answers in a row")
