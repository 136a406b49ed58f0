"""Sends requests to the Service until 20 in a row succeed, each on a new connection.

`helm test` runs this in the service's image. URL is the address to request.
"""

import os
#% if cookiecutter.tls == "yes"
import ssl
#% endif
import sys
import time
import urllib.error
import urllib.request

url = os.environ["URL"]
wanted = 20
deadline = time.monotonic() + 30
#% if cookiecutter.tls == "yes"
# Whether the pods answer is the question; who issued their certificate, clients check.
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
https = urllib.request.HTTPSHandler(context=context)
urllib.request.install_opener(urllib.request.build_opener(https))
#% endif
got = 0
while got < wanted:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            answer.read()
            got += 1
    except (urllib.error.URLError, OSError) as error:
        # A node may learn late of a new Service: only successes in a row count.
        print(f"{url}: {error}", flush=True)
        got = 0
        if time.monotonic() > deadline:
            sys.exit(f"{url} does not answer")
        time.sleep(1)
print(f"{url}: {got} answers in a row")
