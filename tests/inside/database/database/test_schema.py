"""A service is ready once it has seen a schema that is new enough, whatever happens later."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.migrations.revisions import needed, title
from dev import postgres
from tests.conftest import Start
from tests.database.later import Later
from tests.harness import Service, eventually, free_port

NEWEST = str(needed())
REMEDY = f"but this version needs {title(NEWEST)}: run `python -m app migrate`."
NONE = f"The database has no schema yet, {REMEDY}"
OLD = f"The schema is at {title('0001')}, {REMEDY}"


def reason(service: Service) -> str:
    """Why the pod is not ready; empty if it is."""
    with contextlib.suppress(ConnectionError):
        answer = service.probe("readyz")
        return "" if answer.status == 200 else answer.body.decode().strip()
    return "not started"


def told(service: Service, sentence: str) -> None:
    eventually(lambda: reason(service) == f"check schema: {sentence}", sentence)


@pytest.fixture
def own_server() -> Iterator[tuple[str, contextlib.ExitStack]]:
    """A migrated server of this test, and what stops it."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(postgres.server("max_connections=20")), stack


def test_it_waits_for_its_schema_and_says_so(
    empty_database: str, start: Start, tmp_path: Path
) -> None:
    service, later = start(), Later(tmp_path)
    told(service, NONE)
    assert later.migrate("0001").returncode == 0
    told(service, OLD)
    assert service.status()["checks"]["schema"]["error"] == OLD
    assert later.migrate().returncode == 0
    service.ready()

    assert [line["reason"] for line in service.lines("check failed", check="schema")] == [NONE, OLD]
    assert not any("exception" in line for line in service.lines("check failed", check="schema"))
    service.logged("check recovered", check="schema")


def test_a_newer_schema_is_fine(database: str, start: Start) -> None:
    postgres.query(database, "UPDATE alembic_version SET version_num = '9999'")
    service = start().ready()
    state = service.logged("schema is new enough")["state"]
    assert (
        state
        == f"The schema is at 9999, newer than {title(NEWEST)} of this version, which can use it."
    )


def test_a_database_that_goes_away_later_takes_no_pod_out(
    own_server: tuple[str, contextlib.ExitStack], start: Start, tmp_path: Path
) -> None:
    url, running = own_server
    assert Later(tmp_path).migrate(APP_DATABASE__URL=url).returncode == 0
    service = start(APP_DATABASE__URL=url).ready()
    running.close()
    eventually(lambda: service.get("/notes").status == 503, "the database to be missed")
    assert [reason(service) for _ in range(20)] == [""] * 20


def test_a_pod_that_has_not_seen_its_database_is_not_ready(start: Start, tmp_path: Path) -> None:
    """A rollout with a wrong address stops at its first pod; later the pod gets ready by itself."""
    port = free_port()
    service = start(APP_DATABASE__URL=f"postgresql://postgres@127.0.0.1:{port}/postgres")
    told(service, "The schema is not known yet: ConnectionRefusedError.")
    with postgres.server("max_connections=20", port=port) as url:
        assert Later(tmp_path).migrate(APP_DATABASE__URL=url).returncode == 0
        service.ready()


def test_the_owner_can_have_pods_ready_without_a_schema(empty_database: str, start: Start) -> None:
    service = start(APP_MIGRATIONS__GATING="false").ready()
    service.logged("check failed", check="schema", reason=NONE, gating=False)
