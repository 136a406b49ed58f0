"""The example routes, tested as an application's own routes are: in one process, no server."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings


@pytest.fixture
def client(bare_environment: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with TestClient(create_app(Settings())) as client:
        yield client


def test_hello(client: TestClient) -> None:
    answer = client.get("/hello")
    assert (answer.status_code, answer.json()) == (200, {"message": "hello"})


def test_slow(client: TestClient) -> None:
    assert client.get("/slow", params={"seconds": 0}).json() == {"slept": 0}
    assert client.get("/slow", params={"seconds": 61}).status_code == 422


def test_echo(client: TestClient) -> None:
    with client.websocket_connect("/echo") as websocket:
        for text in ("one", "two"):
            websocket.send_text(text)
            assert websocket.receive_text() == text


def test_a_job_runs_behind_its_response(client: TestClient) -> None:
    answer = client.post("/jobs", json={"seconds": 0, "note": "soon"})
    assert answer.status_code == 202
    job = answer.json()["id"]
    assert client.get(f"/jobs/{job}").json() == {"id": job, "state": "done"}


def test_unknown_jobs_and_bad_ones(client: TestClient) -> None:
    assert client.get("/jobs/nobody").status_code == 404
    assert client.post("/jobs", json={"seconds": -1}).status_code == 422


def test_block_is_off_unless_asked_for(
    client: TestClient, bare_environment: pytest.MonkeyPatch
) -> None:
    bare_environment.delenv("EXAMPLES_FAULTS", raising=False)
    assert client.get("/block").status_code == 404
    bare_environment.setenv("EXAMPLES_FAULTS", "true")
    assert client.get("/block", params={"seconds": 0}).json() == {"blocked": 0}


def test_the_routes_are_documented(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/hello", "/slow", "/events", "/jobs", "/jobs/{job_id}"} <= set(paths)
