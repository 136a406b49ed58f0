"""Components get the time of their level, one after the other, and the others what is left."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import wiring
from app.lifecycle.budget import COMPONENTS_REST, LEAST
from app.lifecycle.components import Component, Components
from app.lifecycle.levels import LEVELS, chain, divide, longest
from app.lifecycle.times import Times
from app.settings import Settings
from tests.conftest import Start

#: Seconds that a stop may take which waits for little.
SOON = 40.0
GRACE = {"APP_SHUTDOWN__GRACE_SECONDS": "300"}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, set[str]], dict[str, float | None]]:
    """Needs and budgets of up to seven components."""
    names = [f"part{number}" for number in range(draw(st.integers(1, 7)))]
    needs = {
        name: set(draw(st.lists(st.sampled_from(names[:index]), max_size=3))) if index else set()
        for index, name in enumerate(names)
    }
    own = st.none() | st.sampled_from([0.0, 0.5, *LEVELS.values()])
    return needs, {name: draw(own) for name in names}


@given(graphs(), st.floats(0, 400))
def test_no_chain_exceeds_what_there_is_and_each_keeps_its_budget(
    graph: tuple[dict[str, set[str]], dict[str, float | None]], seconds: float
) -> None:
    needs, budgets = graph
    parts = divide(needs, budgets, seconds, COMPONENTS_REST)
    assert max(longest(needs, parts).values()) <= seconds + 1e-6
    own = {name: budget for name, budget in budgets.items() if budget is not None}
    assert all(parts[name] <= budget for name, budget in own.items())
    reserved = sum(chain(needs, own).values())
    if seconds >= reserved + COMPONENTS_REST:
        assert {name: parts[name] for name in own} == own
    if seconds > 0.01:
        assert all(parts[name] > 0 for name in budgets if budgets[name] != 0)


def test_the_slowest_chain_is_found_in_the_order_of_the_stop() -> None:
    needs = {"pool": [], "buffer": ["pool"], "api": ["buffer", "cache"], "cache": []}
    seconds = {"pool": 15.0, "buffer": 60.0, "cache": 70.0}
    assert chain(needs, seconds) == {"buffer": 60.0, "pool": 15.0}
    assert chain({}, {}) == {}


def component(name: str, **given: Any) -> Component:
    return Component(name, lambda: None, **given)  # type: ignore[arg-type, return-value]


def test_a_timeout_wins_over_the_level() -> None:
    parts = [component("a", level="data"), component("b", level="data", stop_timeout=2)]
    assert Components(parts).budgets == {"a": 60.0, "b": 2}
    assert Components([component("c")]).slowest() == {}


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"level": "dta"}, "has level='dta': use one of application, data, resources"),
        ({"stop_timeout": -1}, "has stop_timeout=-1: it must be from 0 to 3600"),
        ({"stop_timeout": float("inf")}, "has stop_timeout=inf: it must be from 0 to 3600"),
        ({"stop_timeout": float("nan")}, "has stop_timeout=nan: it must be from 0 to 3600"),
    ],
)
def test_what_is_no_level_or_time_is_refused(given_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Components([component("pool", **given_)])


def test_the_stop_is_longer_by_what_components_need() -> None:
    times = Times(0, 2, 1, 18, 5, 3, stop=LEAST, grace=30)
    assert times.with_components(0, ()) == times
    longer = times.with_components(75, ())
    assert (longer.stop, longer.reserved, longer.grace) == (80, 75, 105)
    assert times.with_components(75, ("grace",)).grace == 30, "the kubelet does not wait"
    short = times.with_components(75, ("stop",))
    assert (short.stop, short.reserved, short.grace) == (5, 0, 30)


@pytest.mark.parametrize(
    ("variables", "fixed"),
    [
        ({}, set()),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {"grace"}),
        ({"APP_SHUTDOWN__GRACE_SECONDS": "30"}, {"grace"}),
        ({"APP_SHUTDOWN__STOP_SECONDS": "5"}, {"stop"}),
    ],
)
def test_times_that_are_given_stay(
    bare_environment: pytest.MonkeyPatch, variables: dict[str, str], fixed: set[str]
) -> None:
    for name, value in variables.items():
        bare_environment.setenv(name, value)
    assert wiring.options(Settings()).fixed_times == fixed


def parts(**described: dict[str, Any]) -> dict[str, str]:
    return {"PARTS": json.dumps(described)}


def test_a_level_gets_its_time_while_a_component_without_one_is_cut(serve: Start) -> None:
    service = serve(
        "tests.apps.parts",
        **parts(buffer={"level": "data", "close": 6}, other={"close": "hang"}),
    )
    assert service.status()["components"]["buffer"]["level"] == "data"
    assert service.status()["components"]["buffer"]["budget_seconds"] == 60
    assert service.status()["components"]["other"]["budget_seconds"] is None
    service.signal()
    assert service.ended(SOON) == 1
    assert service.lines("closed", part="buffer")
    assert service.report["components"]["buffer"] >= 6
    assert service.report["cut"] == ["component other"]
    assert not [line for line in service.lines() if line["level"] == "warning"]
    assert "components" not in service.report["overran"]


def test_each_of_a_chain_gets_its_time(serve: Start) -> None:
    service = serve(
        "tests.apps.parts",
        **parts(
            buffer={"stop_timeout": 4, "close": 3, "needs": ["pool"]},
            pool={"stop_timeout": 4, "close": 3},
        ),
    )
    service.signal()
    assert service.ended(SOON) == 0
    assert service.report["seconds"]["stopping"] >= 6, "more than a stop without budgets has"


def test_one_that_hangs_gets_no_more_than_its_time(serve: Start) -> None:
    service = serve(
        "tests.apps.parts", **parts(buffer={"stop_timeout": 1, "close": "hang"}), **GRACE
    )
    service.signal()
    assert service.ended(SOON) == 1
    (line,) = service.lines("component exceeded its budget", component="buffer")
    assert line["budget"] == 0.75, "the rest is for its clean-up"


def test_a_stop_that_is_set_too_short_is_said_at_the_start(serve: Start) -> None:
    service = serve(
        "tests.apps.parts",
        **parts(buffer={"level": "data", "needs": ["pool"]}, pool={"level": "resources"}),
        APP_SHUTDOWN__STOP_SECONDS="30",
        **GRACE,
    )
    (line,) = service.lines("the stop is too short for the components")
    assert line["level"] == "warning"
    assert "APP_SHUTDOWN__STOP_SECONDS=30 is below the 80 s" in line["reason"]
    assert "buffer 60 s, then pool 15 s, and 5 s for everything else" in line["reason"]
    assert "shutdown.stopSeconds" in line["reason"]
    service.signal()
    assert service.ended(SOON) == 0


def test_the_time_of_components_is_not_that_of_requests(serve: Start) -> None:
    service = serve(
        "tests.apps.parts", **parts(buffer={"level": "data"}), APP_SHUTDOWN__LIMIT_SECONDS="0.5"
    )
    with service.connect() as connection:
        connection.ask("/slow?seconds=60")
        service.busy(1)
        service.signal()
        assert connection.response().status == 503
    assert service.ended(SOON) == 1
    said = [line["step"] for line in service.lines("stop")]
    assert "the limit is reached: requests in flight may finish within 0.5 s" in said
