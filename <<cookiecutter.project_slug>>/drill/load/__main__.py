"""``python -m drill.load FILE``: the load as a program, for where the drill itself cannot be.

Needs the standard library and `websockets` alone. The file has the options of
``Options`` as JSON. What comes of every request goes to standard output, with
times in seconds since 1970. Lines are written twice a second, for the API server
passes each one on to the drill. SIGTERM ends it; what is in flight then still
gets its answer.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TextIO

from drill.errors import DrillError
from drill.load.ledger import Kind, Ledger, Lost
from drill.load.routes import KINDS, SHARES, Routes
from drill.load.streams import stream_clients
from drill.load.traffic import Load, Traffic
from drill.record import Endpoint

#: How long it stays after its last line, so that whoever follows the log has read that.
LINGER_SECONDS = 2.0
FLUSH_SECONDS = 0.5
#: Within these the address must lead to a pod: a node may hear late of a new release's endpoints.
REACHABLE_SECONDS = 60.0
#: Of one line: container runtimes split lines of more than 16 KiB.
LINE_OCTETS = 12_000


@dataclass(frozen=True)
class Options:
    """What to call and how often. ``host`` is an address, behind which others pick the pod."""

    host: str
    port: int
    rate: float
    streams: int
    routes: Routes
    linger: float = LINGER_SECONDS
    patience: float = REACHABLE_SECONDS

    def dump(self) -> str:
        """As JSON. The routes are as in ``drill.toml``."""
        calls = {key: asdict(call) for key in KINDS if (call := getattr(self.routes, key))}
        shares = {kind.name.lower(): self.routes.shares.get(kind, 0) for kind in SHARES}
        return json.dumps({**vars(self), "routes": {**calls, "shares": shares}})

    @classmethod
    def load(cls, text: str) -> Self:
        options = json.loads(text)
        return cls(**{**options, "routes": Routes.parse(options["routes"])})


class Report:
    """Numbered lines of entries, so that a reader can tell which it has had."""

    def __init__(self, out: TextIO, clock: Callable[[], float]) -> None:
        self._out = out
        self._clock = clock
        self._number = 0
        self._entries: list[str] = []
        self._octets = 0

    def entry(self, what: str, **fields: Any) -> None:
        """Goes out with the next line; at once when the line is full."""
        text = json.dumps({"at": self._clock(), "what": what, **fields})
        self._entries.append(text)
        self._octets += len(text)
        if self._octets > LINE_OCTETS:
            self.flush()

    def line(self, what: str, **fields: Any) -> None:
        """What is not to be waited for: the begin and the end."""
        self.entry(what, **fields)
        self.flush()

    def flush(self) -> None:
        if not self._entries:
            return
        entries = ", ".join(self._entries)
        self._out.write(f'{{"n": {self._number}, "at": {self._clock()!r}, "of": [{entries}]}}\n')
        self._out.flush()
        self._number += 1
        self._octets = 0
        self._entries.clear()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self.flush()


class ReportedLedger(Ledger):
    """A ledger that is kept elsewhere."""

    def __init__(self, report: Report, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._report = report

    def served(self, kind: Kind, pod: str, began: float) -> None:
        self._report.entry("served", kind=kind, pod=pod, began=began)

    def lost(self, kind: Kind, pod: str, began: float, lost: Lost) -> None:
        reason = [lost.reason, lost.detail]
        self._report.entry("lost", kind=kind, pod=pod, began=began, reason=reason)

    def accepted(self, job: str, pod: str) -> None:
        self._report.entry("accepted", job=job, pod=pod)


async def reachable(host: str, port: int, patience: float) -> None:
    """Return once somebody answers there, or after ``patience`` seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while True:
                with suppress(OSError):
                    async with asyncio.timeout(1):
                        _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    return
                await asyncio.sleep(0.1)


async def run(options: Options, report: Report, clock: Callable[[], float]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    service = Endpoint("", options.host, options.port)
    ledger = ReportedLedger(report, clock)
    traffic = Traffic(lambda: service, ledger, clock, options.routes)

    await reachable(options.host, options.port, options.patience)
    async with asyncio.TaskGroup() as tasks:
        load = Load(traffic, options.rate, tasks)
        report.line("begin")
        runs = (load.run(), *(c.run() for c in stream_clients(traffic, options.streams)))
        running = [tasks.create_task(run) for run in runs]
        flushing = tasks.create_task(report.run())
        await stop.wait()
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await load.finish()
        flushing.cancel()
    report.line(
        "end", late=load.late, messages=ledger.messages, streams_left_open=ledger.streams_left_open
    )


def main(path: str) -> int:
    zero = time.time() - time.monotonic()  # a step of the wall clock must not bend a latency

    def clock() -> float:
        return zero + time.monotonic()

    options = Options.load(Path(path).read_text("utf-8"))
    report = Report(sys.stdout, clock)
    failed = ""
    try:
        asyncio.run(run(options, report, clock))
    except* (DrillError, OSError) as errors:
        failed = str(errors.exceptions[0])
    if failed:
        report.line("failed", text=failed)
    time.sleep(options.linger)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
