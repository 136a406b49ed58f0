"""The scenario ``migration``: a change that pods can live with, and one that they cannot."""

import asyncio
from collections.abc import Iterator

import pytest

from drill import database
from drill.load.routes import Routes
from drill.local.cluster import LocalBackend
from drill.plan import Plan
from drill.rehearsal import rehearse
from drill.result.analysis import Analysis
from drill.scenarios.migration import Migration

pytestmark = pytest.mark.slow
BREAKING = "ALTER TABLE notes RENAME COLUMN title TO heading"


@pytest.fixture
def plan() -> Iterator[Plan]:
    with database.provided(Plan(replicas=2, rate=40.0, streams=1, routes=Routes())) as plan:
        yield plan


async def analysis(plan: Plan, scenario: Migration) -> Analysis:
    return Analysis.of(await rehearse(scenario, plan, LocalBackend()))


def found(analysis: Analysis, what: str) -> str:
    return next(check.value for check in analysis.checks if check.what == what)


def test_a_schema_that_only_grows_loses_nothing(plan: Plan) -> None:
    scenario = Migration()
    done = asyncio.run(analysis(plan, scenario))
    assert done.passed, done.faults
    assert int(found(done, "rows in the database")) == scenario.rows > 20


def test_a_schema_that_old_pods_cannot_use_is_named(plan: Plan) -> None:
    scenario = Migration(BREAKING)
    done = asyncio.run(analysis(plan, scenario))
    assert not done.passed
    assert int(found(done, "writes that the migration broke")) > 0
    assert any(BREAKING in fault and "expand first" in fault for fault in done.faults)
