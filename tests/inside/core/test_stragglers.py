"""What handlers leave behind is waited for, or named: the process ends either way."""

from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import eventually

#: Seconds that a stop may take which gives up what does not end.
SOON = 30.0
FAR = {"APP_SHUTDOWN__LIMIT_SECONDS": "90", "APP_SHUTDOWN__GRACE_SECONDS": "150"}


def test_a_timer_that_waits_is_named_and_left_behind(serve: Start) -> None:
    service = serve("tests.apps.stragglers", **FAR)
    assert service.get("/timer").status == 200
    service.signal()
    assert service.ended(SOON) == 1
    assert [cut for cut in service.report["cut"] if cut.startswith("thread reminder ")]
    assert service.lines("still running", at="stop", kind="thread", name="reminder")


def test_a_task_of_nobodys_is_named_and_left_behind(serve: Start) -> None:
    service = serve("tests.apps.stragglers", **FAR)
    assert service.get("/stray").status == 200
    service.signal()
    assert service.ended(SOON) == 1
    assert service.report["cut"] == ["task stray"]
    assert len(service.lines("stopped")) == 1
    (line,) = service.lines("task did not respond to cancellation")
    assert "in ignore_all" in "".join(line["where"])


def test_work_behind_a_complete_stream_is_waited_for(serve: Start) -> None:
    service = serve("tests.apps.stragglers", **FAR)
    with service.connect() as connection:
        connection.ask("/stream?events=1")
        assert connection.head().status == 200
        while connection.chunk():
            pass
        service.logged("nap", step="begin")
        service.signal()
        assert service.ended() == 0
    assert service.lines("nap", step="end")
    assert service.report["cut"] == []


def test_work_behind_a_stream_that_the_stop_ended_is_waited_for(serve: Start) -> None:
    service = serve("tests.apps.stragglers", **FAR)
    with service.connect() as connection:
        connection.ask("/stream?events=1000000")
        assert connection.head().status == 200
        service.signal()
        while connection.chunk():
            pass
        assert service.ended() == 0
    assert service.lines("nap", step="end")
    assert service.report["streams_ended"] == 1
    assert service.report["cut"] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_fails_no_request_and_no_stop(serve: Start) -> None:
    service = serve("tests.apps.full", **FAR)
    with service.connect() as connection:
        connection.ask(f"/slow/{'a' * 9000}")
        service.busy(1)
        service.signal()
        eventually(lambda: service.status()["phase"] == "draining", "the drain")
        answer = connection.response()
        assert (answer.status, answer.body, answer.closes) == (200, b'"slow"', True)
        assert service.ended(SOON) == 0
