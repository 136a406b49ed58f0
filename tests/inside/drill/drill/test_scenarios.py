"""Each scenario with the service as it is, and with a broken one whose fault has to be named."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drill import metrics
from drill.chart import Values
from drill.load.routes import Call, Routes
from drill.local.cluster import LocalBackend
from drill.plan import Plan, compared
from drill.rehearsal import rehearse
from drill.result import checks, text
from drill.result.analysis import Analysis
from drill.scenarios import SCENARIOS, canary, crowds
from tests.drill import broken

pytestmark = pytest.mark.slow

#: Quicker than the defaults, and no less safe for what is in front here.
SETTINGS = (
    "rollout.minReadySeconds=0",
    "probes.readiness.periodSeconds=1",
    "probes.readiness.timeoutSeconds=1",
    "shutdown.floorSeconds=1",
    "shutdown.slackSeconds=1",
    "shutdown.fallbackSeconds=1",
)
PLAN = Plan(
    values=Values(settings=SETTINGS),
    replicas=2,
    rate=40,
    streams=2,
    slow_clients=300,
    propagation=(0.5, 1.0),
)
Change = Callable[[Plan], Plan]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "OVERLOAD_SECONDS", 2.0)
    monkeypatch.setattr(crowds, "ALONE_SECONDS", 2.0)
    monkeypatch.setattr(crowds, "ARRIVAL_SECONDS", 4.0)
    monkeypatch.setattr(crowds, "BESIDE_SECONDS", 4.0)
    monkeypatch.setattr(canary, "WEIGHTS", (25, 100))


def analysis_of(name: str, plan: Plan, folder: Path) -> Analysis:
    async def bounded() -> Analysis:
        async with asyncio.timeout(400):
            backend = LocalBackend(print, folder)
            return Analysis.of(await rehearse(SCENARIOS[name], plan, backend))

    analysis = asyncio.run(bounded())
    print(text.render(analysis))
    return analysis


#: What pods log about an API that fails them; one that forgets is asked again without a word.
SAID = {
    "api-forbidden": "no permission to list and watch endpointslices",
    "api-down": "the API cannot be reached",
    "api-hangs": "the API does not respond",
    "api-dies": "the API cannot be reached",
    "api-lies": "limit, before endpoint gone + slack",
}


#: Bounds for a machine whose cores other tests use meanwhile.
LOOSE = {
    "SLOWER": 10.0,
    "SLOWER_AFTER": 10.0,
    "AT_ONCE_MS": 3000.0,
    "NOISE_MS": 3000.0,
    "CLOSED_SECONDS": 15.0,
    "BACK_SECONDS": 30.0,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_healthy_service_loses_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound, value in LOOSE.items():
        monkeypatch.setattr(checks, bound, value)
    analysis = analysis_of(name, PLAN, tmp_path)
    assert analysis.passed, analysis.faults
    assert analysis.rehearsal.ledger.samples
    assert SAID.get(name, "") in "".join(pod.log.read_text() for pod in analysis.rehearsal.pods)


def with_variables(**variables: str) -> Change:
    return lambda plan: replace(plan, environment={**plan.environment, **variables})


def patched(patch: broken.Patch) -> Change:
    return lambda plan: replace(plan, patches=(*plan.patches, patch))


def sleeping(plan: Plan) -> Plan:
    return patched(broken.sleep_in_the_hook)(without_lifecycle(plan))


def without_lifecycle(plan: Plan) -> Plan:
    return compared(replace(plan, streams=0), "naive")  # it would wait for them until it is killed


def without_floor(plan: Plan) -> Plan:
    return replace(patched(broken.no_floor)(plan), streams=0, propagation=(3.0, 3.0))


def hanging(plan: Plan) -> Plan:
    routes = Routes(slow=Call("/slow?seconds=20"), upload=None, job=None)
    return patched(broken.hanging_handler)(replace(plan, routes=routes))


def with_streams(plan: Plan) -> Plan:
    return compared(plan, "naive")  # it waits for them until it is killed


def alone(plan: Plan) -> Plan:
    return replace(plan, replicas=1)


#: What is broken, in which scenario it shows, and what the drill has to say of it.
BROKEN: dict[str, tuple[str, Change, str]] = {
    "no-floor": ("rolling", without_floor, "shutdown.floorSeconds"),
    "no-lifecycle": ("scale-down", without_lifecycle, "preStop"),
    "no-readiness-flip": ("eviction", patched(broken.no_readiness_flip), "readiness"),
    "nothing-ends-streams": ("short-grace", with_streams, "did not exit within the 3 s"),
    "alone": ("crash", alone, "replicas"),
    "fixed-sleep": ("slow-endpoints", sleeping, "endpoint still published"),
    "wrong-grace": ("node-drain", patched(broken.wrong_grace), "terminationGracePeriodSeconds"),
    "no-readiness-probe": ("bad-release", patched(broken.no_readiness_probe), "readiness probe"),
    "nothing-waits": ("prestop-missing", without_floor, "shutdown.floorSeconds"),
    "impatient-liveness": ("blocked-loop", patched(broken.impatient_liveness), "liveness"),
    "sheds-nothing": (
        "overload",
        with_variables(APP_REQUESTS__MAX_IN_FLIGHT="1000"),
        "set APP_REQUESTS__MAX_IN_FLIGHT",
    ),
    "waits-for-headers": (
        "slow-clients",
        with_variables(APP_REQUESTS__HEADER_SECONDS="600"),
        "APP_REQUESTS__HEADER_SECONDS must end them",
    ),
    "handler-hangs": ("rolling", hanging, "GET /slow"),
    "hook-fails": ("rolling", patched(broken.missing_program_in_the_hook), "preStop"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_fault_of_a_broken_service_is_named(name: str, tmp_path: Path) -> None:
    scenario, change, word = BROKEN[name]
    analysis = analysis_of(scenario, change(PLAN), tmp_path)
    assert not analysis.passed
    assert any(word in fault for fault in analysis.faults), analysis.faults


def test_a_bad_canary_that_its_metrics_do_not_show_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LEAST_FAILURES", 10_000)
    analysis = analysis_of("canary-errors", PLAN, tmp_path)
    assert not analysis.passed
    assert "its metrics did not show" in analysis.faults[0]
    assert analysis.excused  # they do not count, but all of its faults reached clients
    assert {lane.pod.canary for lane in analysis.lanes} == {True, False}


#: What every pod's share of the traffic is when hardly anybody calls: quiet proves nothing then.
FEW = replace(PLAN, rate=2, streams=0, propagation=(10.0, 10.0))


def with_settings(plan: Plan, *settings: str) -> Plan:
    return replace(plan, values=Values(settings=(*SETTINGS, *settings)))


def test_at_low_traffic_a_late_cluster_is_seen_by_asking_it(tmp_path: Path) -> None:
    # Without quiet: a request that comes by chance in the last moment proves nothing here.
    asked = ("shutdown.floorSeconds=0", "shutdown.quietSeconds=0")
    analysis = analysis_of("rolling", with_settings(FEW, *asked), tmp_path)
    assert analysis.passed
    stopped = [lane.decided_by for lane in analysis.lanes if lane.told_at is not None]
    assert set(stopped) == {"last answer to itself + slack"}


def test_at_low_traffic_a_fixed_floor_loses_where_the_cluster_is_later(tmp_path: Path) -> None:
    fixed = (
        "shutdown.watchEndpoints=false",
        "shutdown.floorSeconds=5",
        "shutdown.quietSeconds=0",
    )
    analysis = analysis_of("rolling", with_settings(FEW, *fixed), tmp_path)
    assert not analysis.passed
    assert any("raise shutdown.floorSeconds" in fault for fault in analysis.faults), analysis.faults


def test_what_comes_after_a_short_grace_period_is_not_held_against_the_service(
    tmp_path: Path,
) -> None:
    analysis = analysis_of("short-grace", replace(PLAN, propagation=(7.0, 7.0)), tmp_path)
    assert analysis.passed
    assert f"{analysis.excused} more because a deletion's grace period was over" in analysis.verdict
    assert analysis.excused
