"""``make run``: serve on this machine, and again after every change in ``src/``.

The service has a process group of its own. Ctrl-C in a terminal reaches this program alone, which
passes it on: one Ctrl-C is one signal, and the stop gets the time that it takes.
"""

import signal
import subprocess
import sys

from watchfiles import PythonFilter, watch

#: Milliseconds between two looks at whether the service still runs.
LOOK = 500
#: Exit code of Python after a traceback: the next change may help.
TRACEBACK = 1

Service = subprocess.Popen[bytes]


def main() -> int:
    """Return the exit code of the last service."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs begin without SIGINT
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
                break  # stopped by somebody else, or not to be started by any change of the source
    except KeyboardInterrupt:
        pass
    return stop(service)


def start() -> Service:
    return subprocess.Popen([sys.executable, "-m", "app", "serve"], process_group=0)


def stop(service: Service) -> int:
    """As Kubernetes does; each further Ctrl-C is a further signal."""
    while True:
        service.terminate()
        try:
            return service.wait()
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    sys.exit(main())
