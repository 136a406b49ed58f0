"""The watchdog ends the process before SIGKILL would, and says what was stuck."""

from tests.conftest import Start
from tests.harness import PATIENCE

GRACE = {"APP_SHUTDOWN__GRACE_SECONDS": "3", "APP_SHUTDOWN__LIMIT_SECONDS": "1"}


def test_a_loop_that_was_blocked_before_the_signal(serve: Start) -> None:
    service = serve(**GRACE)
    service.connect().ask("/block?seconds=60")
    service.busy(1)
    service.signal()
    assert service.ended() == 1
    assert service.seconds() < 15
    main = service.lines("still running", at="grace period", name="MainThread")
    assert any("examples.py" in line and "in block" in line for line in main[0]["where"])
    assert service.report["exit_code"] == 1
    assert any("grace period" in cut for cut in service.report["cut"])


def test_a_loop_that_is_blocked_by_a_component_as_it_closes(serve: Start) -> None:
    service = serve("tests.apps.parts", PARTS='{"pool": {"close": "block"}}', **GRACE)
    service.signal()
    assert service.ended() == 1
    main = service.lines("still running", at="grace period", name="MainThread")
    assert any("parts.py" in line and "in behave" in line for line in main[0]["where"])
    assert service.report["reason"] == "received SIGTERM"


def test_a_component_that_blocks_as_it_opens(start: Start) -> None:
    service = start("tests.apps.parts", PARTS='{"pool": {"open": "block"}}', **GRACE)
    service.logged("opening")
    service.signal()
    assert service.ended() == 1
    assert service.report["exit_code"] == 1


def test_the_hook_fails_with_it(serve: Start) -> None:
    service = serve(**GRACE)
    service.connect().ask("/block?seconds=60")
    service.busy(1)
    hook = service.prestop()
    assert hook.wait(PATIENCE) == 1
    assert service.ended() == 1


def test_a_stop_in_time_hears_nothing_of_it(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__GRACE_SECONDS="2", APP_SHUTDOWN__LIMIT_SECONDS="1")
    service.signal()
    assert service.ended() == 0
    assert service.stderr == ""
    assert len(service.lines("stopped")) == 1
