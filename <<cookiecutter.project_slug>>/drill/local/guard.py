"""Kills what the drill leaves behind when it dies without a word.

Reads lines of ``+GROUP`` and ``-GROUP`` from standard input. At its end, which
comes with the drill's own end however that happened, it kills every process
group that was added and not taken back.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
