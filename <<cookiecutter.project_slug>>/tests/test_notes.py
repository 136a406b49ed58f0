"""The notes: a real service with a database of its own."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.postgres import query
from tests.harness import Service, running
from tests.wire import Response

Ask = Callable[..., Response]


@pytest.fixture(scope="module")
def service(shared_database: str) -> Iterator[Service]:
    with running() as service:
        yield service.ready()


@pytest.fixture
def ask(service: Service) -> Iterator[Ask]:
    """``ask("PUT", "/notes/1", {...}, if_match='"1"')`` on a connection of the test."""
    with service.connect() as connection:

        def ask(method: str, path: str, body: object = None, **headers: str) -> Response:
            content = b"" if body is None else json.dumps(body).encode()
            connection.ask(path, method, content, **headers)
            return connection.response()

        yield ask


def made(ask: Ask, **fields: Any) -> dict[str, Any]:
    answer = ask("POST", "/notes", {"title": "a note", **fields})
    assert answer.status == 201, answer
    note: dict[str, Any] = json.loads(answer.body)
    return note


def test_a_note_is_stored_and_found(ask: Ask) -> None:
    answer = ask("POST", "/notes", {"title": "milk", "text": "two bottles"})
    note = json.loads(answer.body)
    assert (note["title"], note["text"], note["version"]) == ("milk", "two bottles", 1)
    again = ask("GET", answer.headers["location"])
    assert (json.loads(again.body), again.headers["etag"]) == (note, '"1"')
    assert ask("GET", answer.headers["location"], if_none_match='"1"').status == 304
    assert ask("GET", "/notes/9000000").status == 404


@pytest.mark.parametrize("wrong", [{"title": ""}, {"title": "\0"}, {}, {"title": "a", "id": 7}])
def test_what_is_not_valid_is_refused(ask: Ask, wrong: object) -> None:
    answer = ask("POST", "/notes", wrong)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")


def test_two_notes_cannot_have_the_same_slug(ask: Ask) -> None:
    slug = uuid.uuid4().hex
    made(ask, slug=slug)
    assert ask("POST", "/notes", {"title": "another", "slug": slug}).status == 409


def test_pages_neither_repeat_nor_miss_a_note(ask: Ask) -> None:
    notes = [made(ask)["id"] for _ in range(5)]
    found: list[int] = []
    path = "/notes?limit=2"
    while not set(notes) <= set(found):
        page = json.loads(ask("GET", path).body)
        found += [note["id"] for note in page["items"]]
        path = f"/notes?limit=2&after={page['next']}"
        made(ask)  # what is newer than the page is not on the next one
    assert found[:5] == notes[::-1]
    assert ask("GET", "/notes?after=nowhere").status == 422


def test_the_last_page_has_no_next(ask: Ask) -> None:
    first = made(ask)["id"]
    query_of = json.loads(ask("GET", "/notes?limit=100").body)
    while query_of["next"]:
        query_of = json.loads(ask("GET", f"/notes?limit=100&after={query_of['next']}").body)
    assert first >= query_of["items"][-1]["id"]


def test_only_the_version_that_was_read_is_changed(ask: Ask) -> None:
    path = f"/notes/{made(ask)['id']}"
    assert ask("PUT", path, {"title": "mine"}).status == 428
    changed = ask("PUT", path, {"title": "mine"}, if_match='"1"')
    assert (changed.status, changed.headers["etag"]) == (200, '"2"')
    assert ask("PUT", path, {"title": "yours"}, if_match='"1"').status == 412
    assert json.loads(ask("GET", path).body)["title"] == "mine"
    assert ask("PUT", path, {"title": "any"}, if_match="*").status == 200
    assert ask("DELETE", path, if_match='"1"').status == 412
    assert ask("DELETE", path, if_match='"3"').status == 204
    assert ask("PUT", path, {"title": "gone"}, if_match='"3"').status == 404


def test_a_repeated_request_is_served_once(ask: Ask) -> None:
    key, body = uuid.uuid4().hex, {"title": "once"}
    first = ask("POST", "/notes", body, idempotency_key=key)
    again = ask("POST", "/notes", body, idempotency_key=key)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" in again.headers
    other = ask("POST", "/notes", {"title": "another"}, idempotency_key=key)
    assert other.status == 422


def test_a_request_that_failed_can_be_repeated_with_its_key(ask: Ask) -> None:
    slug, key = uuid.uuid4().hex, uuid.uuid4().hex
    note = made(ask, slug=slug)
    body = {"title": "another", "slug": slug}
    assert ask("POST", "/notes", body, idempotency_key=key).status == 409
    assert ask("DELETE", f"/notes/{note['id']}", if_match="*").status == 204
    assert ask("POST", "/notes", body, idempotency_key=key).status == 201


def test_of_requests_at_the_same_time_one_is_served(service: Service) -> None:
    key, title = uuid.uuid4().hex, uuid.uuid4().hex
    body = json.dumps({"title": title}).encode()
    statuses: list[int] = []

    def post() -> None:
        with service.connect() as connection:
            statuses.append(connection.post("/notes", body, idempotency_key=key).status)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {201, 409}
    database = service.environment["APP_DATABASE__URL"]
    assert query(database, f"SELECT count(*) FROM notes WHERE title = '{title}'") == [["1"]]


def test_the_routes_are_documented(ask: Ask) -> None:
    paths = json.loads(ask("GET", "/openapi.json").body)["paths"]
    assert set(paths["/notes/{note_id}"]["put"]["responses"]) >= {"200", "412", "428", "default"}
    names = [one["name"] for one in paths["/notes"]["post"]["parameters"]]
    assert names == ["idempotency-key"]
