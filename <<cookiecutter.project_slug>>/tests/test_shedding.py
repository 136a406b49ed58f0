"""Above the limit of requests in flight the answer is 503 at once, and nothing is left behind."""

from tests.conftest import Start
from tests.harness import Service, eventually

APPLICATION = "tests.application"
ONE = {"APP_REQUESTS__MAX_IN_FLIGHT": "1", "APP_REQUESTS__QUEUE": "0"}
WAITING = {"APP_REQUESTS__MAX_IN_FLIGHT": "1", "APP_REQUESTS__QUEUE_SECONDS": "30"}


def state(service: Service, field: str, value: int) -> None:
    eventually(lambda: service.status()["shedding"][field] == value, f"{value} {field}")


def test_the_connection_stays_usable(serve: Start) -> None:
    service = serve(APPLICATION, **ONE)
    with service.connect() as busy, service.connect() as shed:
        busy.ask("/slow?seconds=30")
        state(service, "running", 1)
        for _ in range(2):  # the body that nobody read is not taken for the next request
            response = shed.post("/hello", bytes(300_000))
            assert (response.status, response.closes) == (503, False)
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["retry-after"] == "1"
        assert service.get("/readyz").status == 200


def test_a_client_that_leaves_the_queue_takes_no_slot(serve: Start) -> None:
    service = serve(APPLICATION, **WAITING)
    with service.connect() as busy, service.connect() as leaves:
        busy.ask("/slow?seconds=30")
        state(service, "running", 1)
        leaves.ask("/hello")
        state(service, "queued", 1)
        leaves.close()
        state(service, "queued", 0)
        eventually(lambda: service.status()["in_flight"] == 1, "one request in flight")


def test_a_stop_serves_those_who_wait(serve: Start) -> None:
    service = serve(APPLICATION, **WAITING)
    with service.connect() as busy, service.connect() as waits:
        busy.ask("/slow?seconds=1")
        state(service, "running", 1)
        waits.ask("/hello")
        state(service, "queued", 1)
        service.drain()
        assert busy.response().status == waits.response().status == 200
    assert service.ended() == 0
    assert service.report["requests_cut"] == []
