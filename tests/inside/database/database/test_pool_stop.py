"""A stop of the service, seen by the database: nothing is cut off that can end, nothing stays."""

import re
import signal
import subprocess
from urllib.parse import urlsplit

from dev import postgres
from tests.conftest import Start
from tests.database.pools import sessions
from tests.harness import eventually

APP = "tests.apps.borrowers"
LONG = {"APP_SHUTDOWN__STOP_SECONDS": "20", "APP_SHUTDOWN__GRACE_SECONDS": "60"}


def gone(database: str) -> bool:
    return sessions(database) == 0


def test_no_session_is_left_after_an_idle_stop(serve: Start, database: str) -> None:
    service = serve(APP)
    assert service.get("/one").status == 200
    assert sessions(database) >= 1
    service.signal()
    assert service.ended() == 0
    assert gone(database)


def test_borrowed_connections_are_waited_for(serve: Start, database: str) -> None:
    service = serve(APP, **LONG)
    for _ in range(5):
        service.get("/late?seconds=2.5")
    service.signal()
    assert service.ended() == 0
    assert 0.5 < service.report["components"]["database"] < 3
    assert not service.lines("still running")
    assert gone(database)


def test_who_does_not_return_a_connection_is_named_and_cut_off(serve: Start, database: str) -> None:
    service = serve(APP, **LONG)
    assert service.get("/keep").status == 200
    service.signal()
    assert service.ended() == 1
    (line,) = service.lines("still running", at="component database", kind="connection")
    assert any(one.endswith("in keep_for_ever") for one in line["where"])
    assert line["seconds"] > 0
    assert service.report["cut"] == ["component database"]
    eventually(lambda: gone(database), "the server to see that the client is gone")


def test_sigusr1_names_who_has_a_connection(serve: Start, database: str) -> None:
    service = serve(APP)
    service.get("/keep")
    service.signal(signal.SIGUSR1)
    service.logged("listed what is running")
    lines = service.lines("still running", at="SIGUSR1", kind="connection")
    # The check may have one as well at that moment.
    places = [place for line in lines for place in line["where"]]
    assert any(place.endswith("in keep_for_ever") for place in places)


def test_a_service_that_is_killed_leaves_no_statement_running(serve: Start, database: str) -> None:
    service = serve(APP)
    connection = service.connect()
    connection.ask("/hold?seconds=600")
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    eventually(lambda: postgres.query(database, running) == [["1"]], "the statement to run")
    service.process.kill()
    eventually(lambda: gone(database), "the server to end the statement")


def test_the_pool_shows_in_status_and_metrics(serve: Start, database: str) -> None:
    service = serve(APP, APP_DATABASE__POOL_SIZE="7", APP_DATABASE__LEAK_SECONDS="0.5")
    service.get("/keep")
    line = service.logged("connection held for long")
    assert any(one.endswith("in keep_for_ever") for one in line["where"])
    status = service.status()["component_status"]["database"]
    assert (status["size"], status["leaks"]) == (7, 1)
    assert (
        "keep_for_ever"
        in eventually(
            lambda: service.status()["component_status"]["database"]["held"],
            "somebody who holds one",
        )[0]
    )
    assert "keep_for_ever" in service.probe("statusz?format=html").body.decode()
    used = r'db_client_connection_count\{[^}]*state="used"\} 1\n'
    eventually(
        lambda: re.search(used, service.probe("metrics").body.decode()), "one connection in use"
    )


def test_readiness_depends_on_the_database_only_where_the_owner_says(
    serve: Start, database: str
) -> None:
    free, gated = serve(APP), serve(APP, APP_DATABASE__GATING="true")
    name, server = database.rpartition("/")[2], urlsplit(database)._replace(path="/postgres")

    def allow(whether: str) -> None:
        postgres.query(server.geturl(), f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {whether}')

    allow("false")
    postgres.query(
        server.geturl(),
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    free.logged("check failed")
    eventually(lambda: gated.probe("readyz").status == 503, "the gated pod to be unready")
    assert free.probe("readyz").status == 200
    allow("true")
    eventually(lambda: gated.probe("readyz").status == 200, "the gated pod to be ready again")


def test_a_service_without_an_address_says_so(start: Start) -> None:
    service = start("", APP_DATABASE__URL="")
    assert service.ended() == 3
    assert "APP_DATABASE__URL is not set" in service.stderr


def test_a_frozen_database_does_not_hold_up_a_stop(serve: Start) -> None:
    with postgres.server("max_connections=20") as url:
        service = serve(APP, APP_DATABASE__URL=url, **LONG)
        service.get("/one")
        connection = service.connect()
        connection.ask("/hold?seconds=600")
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        eventually(lambda: postgres.query(url, running) == [["1"]], "the statement to run")
        ((pids,),) = postgres.query(url, "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity")
        everything = ["kill", "-STOP", *pids.split()]
        subprocess.run(everything, check=False)
        try:
            service.signal()
            service.ended(35)
        finally:
            subprocess.run(["kill", "-CONT", *pids.split()], check=False)
