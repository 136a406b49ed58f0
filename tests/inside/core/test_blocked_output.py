"""Whoever reads the log may stall or go away: the service goes on, and says what is missing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from app.observability.pipe import LIMIT, Pipe
from tests.conftest import Start
from tests.harness import PROJECT, Line, Service, clean_environment, eventually

#: Its line in the access log is as long as one can be.
LONG = "/nowhere/" + "x" * 1000


class Blocked:
    """A pipe that is full: whoever writes to it waits until somebody reads."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.writer, b"\n" * 4096)
        os.set_blocking(self.writer, True)

    def read(self) -> str:
        """Everything, until nobody holds the other end."""
        os.close(self.writer)
        with open(self.reader, "rb", closefd=False) as reader:
            return reader.read().decode()

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    pipe = Blocked()
    yield pipe
    pipe.close()


def dropped(service: Service) -> int:
    """What the metric says."""
    text = service.probe("metrics").body.decode()
    (line,) = [x for x in text.splitlines() if x.startswith("app_log_lines_dropped_total ")]
    return int(line.split()[1])


def more_than_is_kept(service: Service) -> int:
    """Log lines until some are dropped; how many."""
    with service.connect() as connection:
        for _ in range(LIMIT // len(LONG) + 10):
            assert connection.get(LONG).status == 404
    return dropped(service)


def objects(text: str) -> list[Line]:
    return [json.loads(line) for line in text.splitlines() if line]


def test_requests_are_answered_while_nobody_reads_the_log(serve: Start, blocked: Blocked) -> None:
    service = serve("tests.apps.requests", stdout=blocked.writer)
    with service.connect() as connection:
        for _ in range(100):
            assert connection.get("/slow?seconds=0").status == 200


def test_a_stop_goes_its_way_while_nobody_reads_the_log(serve: Start, blocked: Blocked) -> None:
    service = serve(stdout=blocked.writer)
    assert more_than_is_kept(service) > 0
    service.signal()
    assert service.ended() == 0, "the watchdog would have ended it with 1"


def test_what_was_printed_does_not_keep_it_either(serve: Start, blocked: Blocked) -> None:
    service = serve("tests.apps.outcomes", stdout=blocked.writer, PYTHONUNBUFFERED="")
    assert service.get("/prints").status == 200
    service.signal()
    assert service.ended() == 0, "the interpreter would have waited for ever"


def test_the_third_signal_ends_it_while_nobody_reads_the_log(
    serve: Start, blocked: Blocked
) -> None:
    service = serve("tests.apps.requests", stdout=blocked.writer)
    service.connect().ask("/deaf?seconds=60")
    service.busy(1)
    service.signal()
    eventually(lambda: service.probe("readyz").status == 503, "the first signal")
    service.signal(signal.SIGINT)
    service.signal(signal.SIGTERM)
    # Two that come at the same time are heard in either order.
    assert service.ended() in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_a_reader_that_comes_back_is_told_how_many_lines_are_missing(
    serve: Start, blocked: Blocked
) -> None:
    service = serve(stdout=blocked.writer)
    missing = more_than_is_kept(service)
    assert missing > 0
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(blocked.read()))
    reader.start()
    service.get("/hello")
    service.signal()
    assert service.ended() == 0
    reader.join()
    lines = objects(said[0])
    (notice,) = [line for line in lines if line["event"] == "log lines dropped"]
    assert notice["count"] == missing
    assert lines[-1]["event"] == "stopped"


def test_the_last_line_has_room_however_much_waits(blocked: Blocked) -> None:
    pipe = Pipe(blocked.writer, limit=100_000)
    for _ in range(200):
        pipe.write("x" * 999 + "\n")
    assert pipe.dropped >= 100
    began, timeout = time.monotonic(), 4.0
    ending = threading.Thread(target=pipe.last, args=("the end\n", timeout))
    ending.start()
    # Half of the time is for the lines before it.
    eventually(lambda: time.monotonic() > began + 0.6 * timeout, "the lines to be given up")
    said = b""
    while not said.endswith(b"the end\n"):
        said += os.read(blocked.reader, 65536)
    ending.join()
    assert said.count(b"x\n") < 100
    assert pipe.dropped + said.count(b"x\n") == 200


@pytest.mark.parametrize("broken", ["closed", "full disk"])
def test_a_log_that_cannot_be_written_is_said_once(
    serve: Start, blocked: Blocked, broken: str
) -> None:
    if broken == "full disk":
        os.dup2(os.open("/dev/full", os.O_WRONLY), blocked.writer)
    os.close(blocked.reader)
    service = serve(stdout=blocked.writer)
    for _ in range(50):
        assert service.get("/hello").status == 200
    eventually(lambda: dropped(service) >= 50, "the lines to be counted")
    service.signal()
    assert service.ended() == 0
    assert service.stderr.count("\n") == 1
    assert "cannot write to descriptor 1" in service.stderr


FORKS = """
import os
from app.observability.pipe import STDOUT

STDOUT.write("before\\n")
if child := os.fork():
    os.waitpid(child, 0)
    STDOUT.write_soon("parent\\n")
else:
    STDOUT.write_soon("child\\n")
    os._exit(0)
"""


def test_a_forked_child_and_the_end_of_the_process_lose_no_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        cwd=PROJECT,
        env={**clean_environment(), "PYTHONPATH": str(PROJECT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert sorted(done.stdout.splitlines()) == ["before", "child", "parent"]
