"""``make run``: serve on this machine and reload on changes in ``src/``.

The service has its own process group, so Ctrl-C reaches only this program, which passes it
on: one Ctrl-C is one signal, and the stop gets the time that it needs.
"""

import signal
import subprocess
import sys

from watchfiles import PythonFilter, watch

#: Milliseconds between two checks whether the service still runs.
LOOK = 500
#: Python's exit code after a traceback: the next change may fix it.
TRACEBACK = 1

Service = subprocess.Popen[bytes]


def main() -> int:
    """Return the exit code of the last run."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs without SIGINT
        signal.signal(number, signal.default_int_handler)
    service = start()
    try:
        for changes in watch(
            "src", watch_filter=PythonFilter(), rust_timeout=LOOK, yield_on_timeout=True
        ):
            if changes:
                stop(service)
                service = start()
            elif service.poll() not in (None, TRACEBACK):
                break  # stopped from outside, or no change in the source can start it
    except KeyboardInterrupt:
        pass
    return stop(service)


def start() -> Service:
    return subprocess.Popen([sys.executable, "-m", "app", "serve"], process_group=0)


def stop(service: Service) -> int:
    """Stop it as Kubernetes does; each further Ctrl-C is a further signal."""
    while True:
        service.terminate()
        try:
            return service.wait()
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    sys.exit(main())
