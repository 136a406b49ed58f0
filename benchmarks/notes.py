"""The example resource beside the same handlers written plainly with SQLAlchemy, in turns.

``python -m benchmarks.notes PROJECT`` takes a generated project with a database, after ``make setup``, and
TEST_DATABASE_URL. The project's own ``python -m dev.postgres COMMAND`` starts a server for it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks import load
from benchmarks.processes import Server, serving

ROOT = Path(__file__).resolve().parent.parent
NOTE = b'{"title": "a note", "text": "two bottles of milk"}'
REQUESTS = {
    "GET": b"GET /notes/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST": b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(NOTE), NOTE),
}
#: Pairs of processes, turns of each pair, and seconds of a turn.
PROCESSES, TURNS, SECONDS = 4, 6, 2.0


def main() -> None:
    project = Path(sys.argv[1]).resolve()
    python, path = str(project / ".venv/bin/python"), f"{project / 'src'}:{ROOT}"
    settings = {"APP_DATABASE__URL": os.environ["TEST_DATABASE_URL"]}
    subprocess.run([python, "-m", "app", "migrate"], cwd=project, env={**os.environ, **settings}, check=True)
    found: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {name: [] for name in REQUESTS}
    for _ in range(PROCESSES):
        with (
            serving(("-m", "app", "serve"), python=python, path=path, settings=settings) as ours,
            serving(("-m", "benchmarks.plain_notes"), python=python, path=path, settings=settings) as plain,
        ):
            for name, request in reversed(REQUESTS.items()):  # the first POST makes the note that GET reads
                load.REQUEST = request
                for server in (ours, plain):
                    load.load(server.port, 1.0)
                for turn in range(TURNS):
                    both = (ours, plain) if turn % 2 == 0 else (plain, ours)
                    taken = {server.port: under_load(server) for server in both}
                    found[name].append((taken[ours.port], taken[plain.port]))
    for name, pairs in found.items():
        for figure in pairs[0][0]:
            one, other = (median(pair[which][figure] for pair in pairs) for which in (0, 1))
            ratio = median(pair[0][figure] / pair[1][figure] for pair in pairs)
            print(f"{name:5} {figure:16} example {one:9.2f}  plain {other:9.2f}  ratio {ratio:.3f}")


def under_load(server: Server) -> dict[str, float]:
    before, began = server.cpu, time.monotonic()
    result = load.load(server.port, SECONDS)
    return {
        "requests per s": result.requests / (time.monotonic() - began),
        "p50 in ms": result.percentile(0.5) * 1e3,
        "p99 in ms": result.percentile(0.99) * 1e3,
        "CPU in µs": (server.cpu - before) / result.requests * 1e6,
    }


if __name__ == "__main__":
    main()
