"""SIGTERM before the preStop hook has its answer: two seconds are left, whatever was agreed.

The kubelet cuts the hook off when the grace period ends, which is shorter than the chart's
after `kubectl delete --grace-period=3`, on a node that shuts down, or in an eviction.
"""

import json
import subprocess

import pytest

from tests.conftest import Start
from tests.harness import Service, eventually
from tests.wire import Connection

#: Far more than any test waits: what ends in time has heard of the shorter period.
FAR = {
    "APP_SHUTDOWN__FLOOR_SECONDS": "60",
    "APP_SHUTDOWN__LIMIT_SECONDS": "60",
    "APP_SHUTDOWN__STREAM_SPREAD_SECONDS": "60",
    "APP_SHUTDOWN__STOP_SECONDS": "60",
    "APP_SHUTDOWN__GRACE_SECONDS": "300",
}
#: Seconds of which the kubelet gives two; a busy machine is late.
SOON = 30.0
HURRY = "received SIGTERM before the preStop hook returned"


def cut_off(service: Service) -> "subprocess.Popen[str]":
    """A hook that waits, and the signal."""
    hook = service.prestop()
    service.logged("stop")
    service.signal()
    return hook


def finish(connection: Connection) -> None:
    """Read a stream up to its last chunk."""
    while connection.chunk():
        pass


def test_it_ends_in_time_and_says_which_grace_period_it_found(serve: Start) -> None:
    service = serve(**FAR)
    hook = cut_off(service)
    assert service.ended(SOON) == 0
    assert service.lines("hurry", reason=HURRY)
    found = service.logged("grace period is shorter", expected=300)["found"]
    assert 2 <= found < 60
    assert service.report["found_grace"] == found
    assert "the grace period is" in hook.communicate(timeout=SOON)[0]
    assert hook.returncode == 0


def test_a_hook_that_was_killed_counts_the_same(serve: Start) -> None:
    service = serve(**FAR)
    hook = service.prestop()
    service.logged("stop")
    hook.kill()
    hook.wait(SOON)
    service.signal()
    assert service.ended(SOON) == 0
    assert service.lines("hurry", reason=HURRY)


def test_every_stream_ends_well(serve: Start) -> None:
    service = serve("tests.apps.streams", **FAR)
    connections = [service.connect() for _ in range(4)]
    for connection in connections:
        connection.ask("/starlette")
        connection.head()
    cut_off(service)
    for connection in connections:
        finish(connection)
    assert service.ended(SOON) == 0
    assert service.report["streams_ended"] == 4


def test_streams_that_wait_for_their_turn_already_end_well(serve: Start) -> None:
    service = serve("tests.apps.streams", **{**FAR, "APP_SHUTDOWN__FLOOR_SECONDS": "0"})
    connections = [service.connect() for _ in range(4)]
    for connection in connections:
        connection.ask("/starlette")
        connection.head()
    hook = service.prestop()
    eventually(lambda: service.lines("stop", decided_by="last new request + quiet"), "the endings")
    service.signal()
    for connection in connections:
        finish(connection)
    assert service.ended(SOON) == 0
    assert hook.wait(SOON) == 0
    assert service.report["streams_ended"] == 4


def test_a_short_request_is_answered_and_a_long_one_gets_a_503(serve: Start) -> None:
    service = serve("tests.apps.requests", **FAR)
    with service.connect() as long, service.connect() as download:
        long.ask("/slow?seconds=60")
        download.ask("/download")
        download.head()
        service.busy(2)
        cut_off(service)
        service.logged("hurry")
        assert service.get("/go-on").status == 200, "it still listens"
        assert [download.chunk(), download.chunk(), download.chunk()] == [b"first", b"second", b""]
        assert long.response().status == 503
    assert service.ended(SOON) == 1
    assert service.report["cut"] == ["GET /slow"]


@pytest.mark.parametrize("how", ["hang", "deaf"])
def test_components_share_what_is_left(serve: Start, how: str) -> None:
    parts = {"queue": {"needs": ["pool"], "close": how, "stop_timeout": 60}, "pool": {"close": 0.1}}
    service = serve("tests.apps.parts", PARTS=json.dumps(parts), **FAR)
    cut_off(service)
    assert service.ended(SOON) == 1
    assert [line["part"] for line in service.lines("closed")] == ["pool"]
    assert "component queue" in service.report["cut"]


def test_a_deaf_handler_does_not_keep_it(serve: Start) -> None:
    service = serve("tests.apps.requests", **{**FAR, "APP_SHUTDOWN__FLOOR_SECONDS": "0"})
    with service.connect() as connection:
        connection.ask("/deaf?seconds=60")
        service.busy(1)
        cut_off(service)
        assert service.ended(SOON) == 1
        assert "GET /deaf" in service.report["cut"]


def test_the_watchdog_hears_of_it_too(serve: Start) -> None:
    service = serve(**FAR)
    service.connect().ask("/block?seconds=60")
    service.busy(1)
    service.prestop()
    service.logged("phase", phase="draining")
    service.signal()
    assert service.ended(SOON) == 1
    assert any("grace period" in cut for cut in service.report["cut"])


def test_a_signal_that_came_before_the_hook_leaves_the_time_as_it_is(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="1.5")
    service.drain()
    hook = service.prestop()
    assert service.ended() == 0
    assert hook.wait(SOON) == 0
    assert service.report["seconds"]["draining"] >= 1.5
    assert not service.lines("hurry")
