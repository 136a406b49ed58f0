"""Sessions: what is committed, what is rolled back, and what is done again."""

import json
import time
import uuid
from collections.abc import Iterator

import pytest

from dev.postgres import database, query
from tests.harness import Service, eventually, running

PREPARE = """
CREATE TABLE written (name text);
CREATE SEQUENCE commits;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.name LIKE 'refused%' THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = '23514'; END IF;
  IF NEW.name LIKE '%once%' AND nextval('commits') % 2 = 0 THEN RETURN NULL; END IF;
  IF NEW.name LIKE 'conflict%' THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = '40001'; END IF;
  IF NEW.name LIKE 'dies%' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
  RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON written DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION fail();
"""


@pytest.fixture(scope="module")
def service(database_server: str) -> Iterator[Service]:
    with database(database_server) as url:
        query(url, PREPARE)
        with running("tests.apps.sessions", APP_DATABASE__URL=url) as service:
            yield service.ready()


class Asked:
    """A name of its own, and what became of the requests with it."""

    def __init__(self, service: Service, prefix: str = "") -> None:
        self.name = prefix.replace(" ", "-") + uuid.uuid4().hex
        self._service = service
        self._url = service.environment["APP_DATABASE__URL"]

    def post(self, path: str, options: str = "", **headers: str) -> int:
        with self._service.connect() as connection:
            answer = connection.post(f"/{path}/{self.name}?{options}", b"", **headers)
        if answer.status == 503:
            assert answer.headers["retry-after"] == "1"
        if answer.status >= 500:
            assert b"on purpose" not in answer.body
        return answer.status

    @property
    def rows(self) -> int:
        sql = f"SELECT count(*) FROM written WHERE name = '{self.name}'"
        return int(query(self._url, sql)[0][0])

    @property
    def runs(self) -> int:
        return int(self._service.get(f"/runs/{self.name}").body)


@pytest.fixture
def asked(service: Service) -> Asked:
    return Asked(service)


def test_what_succeeds_is_committed_before_the_response(asked: Asked) -> None:
    assert (asked.post("write"), asked.rows) == (201, 1)


@pytest.mark.parametrize(("prefix", "status"), [("refused", 500), ("conflict", 503), ("dies", 500)])
def test_a_commit_that_fails_is_no_success(service: Service, prefix: str, status: int) -> None:
    asked = Asked(service, prefix)
    assert (asked.post("write"), asked.rows, asked.runs) == (status, 0, 1)


@pytest.mark.parametrize("prefix", ["conflict once", "dies once"])
def test_a_commit_that_fails_is_repeated_if_that_is_allowed(service: Service, prefix: str) -> None:
    asked = Asked(service, prefix)
    assert (asked.post("write-again"), asked.rows) == (201, 1)


@pytest.mark.parametrize("code", ["40001", "40P01", "dead"])
def test_only_idempotent_handlers_run_again(service: Service, code: str) -> None:
    asked, again = Asked(service), Asked(service)
    options = f"times=1&code={code}"
    assert (asked.post("fail", options), asked.runs, asked.rows) == (503, 1, 0)
    assert (again.post("repeat", options), again.runs, again.rows) == (201, 2, 1)


def test_attempts_are_bounded(asked: Asked) -> None:
    assert (asked.post("repeat", "times=99&code=40001"), asked.runs, asked.rows) == (503, 3, 0)


def test_other_errors_are_not_repeated(asked: Asked) -> None:
    assert (asked.post("repeat", "times=1&code=23505"), asked.runs, asked.rows) == (500, 1, 0)


def test_nothing_is_repeated_without_time(asked: Asked) -> None:
    status = asked.post("repeat", "times=1&code=40001", x_request_timeout="0.02")
    assert status in (503, 504)
    assert (asked.runs, asked.rows) <= (1, 0)


def test_a_handler_may_be_idempotent_only_with_a_key(service: Service) -> None:
    without, with_key = Asked(service), Asked(service)
    assert (without.post("repeat-with", "times=1&code=40001"), without.runs) == (503, 1)
    assert (with_key.post("repeat-with", "times=1&code=40001&key=k"), with_key.runs) == (201, 2)


def test_a_client_that_leaves_undoes_its_request(service: Service, asked: Asked) -> None:
    with service.connect() as connection:
        connection.ask(f"/sleep/{asked.name}?seconds=30", "POST")
        eventually(lambda: asked.runs, "the handler to run")
    eventually(lambda: not sleeping(service), "the statement to end", timeout=10)
    assert asked.rows == 0


def test_a_deadline_ends_the_statement(service: Service, asked: Asked) -> None:
    began = time.monotonic()
    assert asked.post("sleep", "seconds=30", x_request_timeout="0.5") == 504
    assert time.monotonic() - began < 10
    eventually(lambda: not sleeping(service), "the statement to end", timeout=10)
    assert asked.rows == 0


def sleeping(service: Service) -> bool:
    sql = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active'"
    rows = query(service.environment["APP_DATABASE__URL"], f"{sql} AND pid <> pg_backend_pid()")
    return bool(rows)


def test_the_server_knows_the_deadline(service: Service) -> None:
    with_deadline = json.loads(service.get("/timeout", x_request_timeout="5.5").body)
    assert 1000 < int(with_deadline.removesuffix("ms")) <= 5500
    without = json.loads(service.get("/timeout").body)
    assert not without.endswith("ms"), "the timeout of one transaction is none of the next"


def test_a_read_session_writes_nothing(asked: Asked) -> None:
    assert (asked.post("read"), asked.rows) == (500, 0)


def test_a_reader_may_change_what_it_has_read_in_memory(asked: Asked) -> None:
    assert asked.post("write") == 201
    assert (asked.post("read-and-change"), asked.rows) == (200, 1)


def test_a_reader_that_loses_its_connection_at_the_end_has_read(asked: Asked) -> None:
    assert asked.post("read-and-lose") == 200


def test_many_cancelled_requests_lose_no_connection(service: Service) -> None:
    """Clients leave at random points; the pool of ten still works afterwards."""
    names = []
    for number in range(60):
        asked = Asked(service)
        names.append(asked)
        with service.connect() as connection:
            connection.ask(f"/write/{asked.name}", "POST")
            time.sleep(number % 12 / 1000)
    for _ in range(20):
        assert Asked(service).post("write") == 201
    assert all(one.rows == min(one.rows, one.runs) for one in names[:5])
