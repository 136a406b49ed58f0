"""``python -m app drain``: the preStop hook, with and without the signal that follows it."""

import resource
import subprocess
import sys
import tempfile

import pytest

from tests.conftest import Start
from tests.harness import PATIENCE, PROJECT, clean_environment


def finish(hook: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = hook.communicate(timeout=PATIENCE)
    return hook.returncode, out, err


def test_it_returns_when_the_service_has_drained(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="1")
    code, out, err = finish(service.prestop())
    assert (code, err) == (0, "")
    steps = out.splitlines()
    assert "draining: preStop hook" in steps[0]
    assert steps[-1] == "drained: nothing was cut off"
    assert service.ended() == 0
    assert service.report["reason"] == "preStop hook"


def test_each_step_is_printed_as_it_happens(serve: Start) -> None:
    service = serve("tests.apps.requests")
    service.connect().ask("/slow?seconds=2")
    service.busy(1)
    hook = service.prestop()
    assert hook.stdout is not None
    assert "draining" in hook.stdout.readline()
    assert service.status()["in_flight"] == 1
    assert finish(hook)[0] == 0


def test_sigterm_after_it_changes_nothing(serve: Start) -> None:
    """What every pod sees: the hook has ended, then comes the signal, if anybody is left."""
    service = serve("tests.apps.parts", PARTS='{"slow": {"close": 1.5}}')
    assert finish(service.prestop())[0] == 0
    service.signal()
    assert service.ended() == 0
    assert service.report["reason"] == "preStop hook"
    assert service.report["components"]["slow"] >= 1.5


def test_two_at_once_follow_the_same_stop(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="1")
    hooks = [service.prestop(), service.prestop()]
    for hook in hooks:
        code, out, _ = finish(hook)
        assert code == 0
        assert "draining: preStop hook" in out
    assert service.ended() == 0
    assert len(service.lines("phase", phase="draining")) == 1


def test_it_follows_a_stop_that_a_signal_began(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="2")
    service.drain()
    code, out, _ = finish(service.prestop())
    assert code == 0
    assert "received SIGTERM" in out


def test_it_says_what_had_to_be_cut(serve: Start) -> None:
    service = serve("tests.apps.requests", APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    service.connect().ask("/slow?seconds=60")
    service.busy(1)
    code, _, err = finish(service.prestop())
    assert code == 1
    assert "GET /slow" in err
    assert service.ended() == 1


def test_nothing_to_do_when_the_process_is_gone(serve: Start) -> None:
    service = serve()
    service.kill()
    code, out, err = finish(service.prestop())
    assert (code, err) == (0, "")
    assert "nothing to drain" in out


def test_it_fails_when_the_process_dies_on_the_way(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="9")
    hook = service.prestop()
    service.logged("stop")
    service.kill()
    code, _, err = finish(hook)
    assert code == 1
    assert "exited before it was drained" in err


def test_it_reaches_a_service_whose_loop_is_blocked(serve: Start) -> None:
    service = serve()
    service.connect().ask("/block?seconds=3")
    service.busy(1)
    hook = service.prestop()
    service.logged("phase", phase="draining")
    assert service.probe("readyz").status == 503
    assert finish(hook)[0] == 0


def nowhere() -> dict[str, str]:
    """An environment in which no service runs."""
    return {**clean_environment(), "APP_CONTROL_SOCKET": f"{tempfile.gettempdir()}/nobody.sock"}


def imports(*arguments: str) -> set[str]:
    """Names of the top-level packages that this command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=PROJECT,
        env=nowhere(),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [x for x in done.stderr.splitlines() if x.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("command", [["drain"], ["probe", "readyz"]])
def test_it_imports_the_standard_library_only(command: list[str]) -> None:
    from_site = imports("-c", "")  # what an editable install or a .pth file brings
    added = imports("-m", "app", *command) - from_site - sys.stdlib_module_names
    assert added == {"app"}


def cost(*command: str) -> float:
    """Seconds of CPU that a Python takes for this; the least of some, for the machine is busy."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *command], cwd=PROJECT, env=nowhere(), check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(5))


def test_it_costs_little() -> None:
    """Nominally three times the start of the interpreter; with asyncio it would be eight times."""
    assert cost("-m", "app", "drain") < 5 * cost("-c", "")
