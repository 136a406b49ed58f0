"""Times are typed once; all the others follow from them and fit the service."""

import contextlib
import math
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI

from app import wiring
from app.lifecycle.components import Component
from app.lifecycle.http.streams import STREAM_GRACE
from app.lifecycle.service import Service
from app.lifecycle.times import Times
from app.lifecycle.watchdog import MARGIN
from app.main import create_service
from app.settings import Settings
from dev import generate
from dev.generate import CHART, schema
from tests.chart.cases import CASES
from tests.chart.helm import Helm, HelmError, Objects

BEHIND: dict[str, Any] = yaml.safe_load((CHART / "files/behind.yaml").read_text("utf-8"))


def times(objects: Objects) -> Times:
    """As the service reads them."""
    read = {
        name.removeprefix("APP_SHUTDOWN__").removesuffix("_SECONDS").lower(): float(value)
        for name, value in objects.environment.items()
        if name.startswith("APP_SHUTDOWN__")
    }
    return Times(**read)


@pytest.mark.parametrize("case", CASES)
def test_the_longest_stop_fits_into_the_grace_period(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    read = times(objects)
    assert read.grace == objects.pod["terminationGracePeriodSeconds"]
    # The watchdog ends the process before; the hook needs time to start.
    assert read.longest() + MARGIN < read.grace


def test_the_grace_period_is_the_sum(helm: Helm) -> None:
    typed = CASES["all-typed"]["shutdown"]
    parts = ["limitSeconds", "streamSpreadSeconds", "stopSeconds", "marginSeconds"]
    wanted = math.ceil(sum(typed[part] for part in parts) + 2 * STREAM_GRACE)
    assert times(helm.render(CASES["all-typed"])).grace == wanted


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    yield


def test_the_grace_period_follows_the_components(
    helm: Helm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def create_service(settings: Settings) -> Service:
        buffer = Component("buffer", opened, depends_on=("pool",), level="data")
        pool = Component("pool", opened, stop_timeout=7.5)
        return Service(FastAPI(), wiring.options(settings), components=[buffer, pool])

    monkeypatch.setattr(generate, "create_service", create_service)
    copy = shutil.copytree(CHART, tmp_path / "chart")
    (copy / "files/defaults.yaml").write_text(generate.defaults_text())
    objects = helm.render(chart=copy)
    read = times(objects)
    assert read.stop == 72.5 == create_service(Settings()).times.stop
    assert read.grace == objects.pod["terminationGracePeriodSeconds"] == 98
    assert read.longest() + MARGIN < read.grace

    assert times(helm.render({"shutdown": {"stopSeconds": 80}}, chart=copy)).stop == 80
    sentence = (
        "shutdown.stopSeconds=72 is below the 72.5 s that a stop may need: 67.5 s for components "
        "that close one after the other"
    )
    with pytest.raises(HelmError, match=sentence):
        helm.render({"shutdown": {"stopSeconds": 72}}, chart=copy)


def test_a_fraction_of_a_second_counts_as_one(helm: Helm) -> None:
    read = times(helm.render({"shutdown": {"marginSeconds": 2.1, "streamSpreadSeconds": 0.5}}))
    assert read.grace == math.ceil(read.longest() + 2.1)


def test_defaults_are_those_of_the_service(
    helm: Helm, bare_environment: pytest.MonkeyPatch
) -> None:
    bare_environment.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    service = create_service(Settings()).times
    # In a pod, the grace period is what the chart makes it: with the time for components.
    grace = service.grace + service.reserved
    assert times(helm.render()) == replace(service, grace=grace, reserved=0)


@pytest.mark.parametrize("router", BEHIND)
def test_what_is_in_front_sets_what_is_not_typed(helm: Helm, router: str) -> None:
    row = BEHIND[router]
    objects = helm.render({"behind": router})
    read = times(objects)
    assert (read.floor, read.slack, read.fallback) == (row["floor"], row["slack"], row["fallback"])
    assert read.limit == max(read.floor, read.fallback) + 13
    assert int(objects.environment["APP_KEEP_ALIVE_SECONDS"]) > row["idle"]


@pytest.mark.parametrize("router", BEHIND)
def test_what_is_typed_wins(helm: Helm, router: str) -> None:
    typed = {"floorSeconds": 0, "slackSeconds": 0, "fallbackSeconds": 0.5, "limitSeconds": 1}
    objects = helm.render({"behind": router, "shutdown": typed, "keepAliveSeconds": 7000})
    read = times(objects)
    assert (read.floor, read.slack, read.fallback, read.limit) == (0, 0, 0.5, 1)
    assert objects.environment["APP_KEEP_ALIVE_SECONDS"] == "7000"


@pytest.mark.parametrize("router", BEHIND)
def test_a_stop_is_no_shorter_without_the_api(router: str) -> None:
    """An endpoint that is withdrawn at once is the quickest case there is."""
    row = BEHIND[router]
    assert row["fallback"] >= max(row["floor"], row["slack"])


@pytest.mark.parametrize("router", BEHIND)
def test_who_answers_is_asked_where_connections_go_by_way_of_the_service(
    helm: Helm, router: str
) -> None:
    watched = helm.render({"behind": router}).environment["APP_KUBERNETES__SERVICES"]
    assert watched.endswith(":80") is not BEHIND[router]["direct"]


def test_schema_and_table_name_the_same() -> None:
    assert schema()["properties"]["behind"]["enum"] == [*BEHIND, None]


@pytest.mark.parametrize(("watches", "first"), [(True, 0), (False, 5)])
def test_the_notes_tell_the_stop_in_its_order(helm: Helm, watches: bool, first: int) -> None:
    values = {"shutdown": {"quietSeconds": 0.5, "watchEndpoints": watches}}
    notes = helm.notes(values)
    told = [
        line.split() for line in notes.splitlines() if line[:8].strip().replace(".", "").isdigit()
    ]
    stop = 23 + times(helm.render(values)).stop
    assert [float(words[0]) for words in told] == [0, first, 18, 23, stop, stop + 1, stop + 2]
    assert told[-1][-1] == "terminationGracePeriodSeconds"
    assert "0.5 s" in notes
