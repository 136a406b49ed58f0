"""How to run each example of the documents, and what to look at."""

import json
import signal
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import pytest

from tests.around_examples import (
    BUILD,
    CONSUME,
    CREATED,
    HELD,
    IN_CREATE_SERVICE,
    IN_HANDLER,
    LENDER,
    LENDS,
    POOL,
)
from tests.served_example import Answer, Service, wait_for


def job(service: Service) -> None:
    assert json.loads(service.text("/jobs", {"id": 1})) == {"id": 1}
    service.stop()
    service.ended_well()
    assert service.did("work")


def spawned(service: Service) -> None:
    service.text("/do")
    assert service.status()["tasks"] == ["reindex"]
    service.stop()
    service.ended_well()
    assert service.did("reindex")


def regular(service: Service) -> None:
    assert "refresh" in str(service.status()["tasks"])
    service.stop()
    service.ended_well()


def singleton(service: Service) -> None:
    status = service.status()
    assert "reminders" in str(status)
    service.stop()
    service.ended_well()


def consumer(service: Service) -> None:
    service.text("/do")
    service.text("/put")
    wait_for(lambda: service.did("handle 1"), "the message to be handled")
    service.stop()
    service.ended_well()


def pool(service: Service) -> None:
    assert service.text("/sum?upto=10") == "45"
    service.stop()
    service.ended_well()


def held(service: Service) -> None:
    service.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: '"name": "customers"' in service.log.read_text("utf-8"), "what the component lends")
    service.stop()
    service.ended_well()


def counted(service: Service) -> None:
    service.text("/books", method="POST")
    assert 'orders_total{kind="book"} 1.0' in service.text("/metrics", port=service.management_port)
    service.stop()
    service.ended_well()


def too_late(service: Service) -> None:
    with pytest.raises(urllib.error.HTTPError) as answer:
        service.text("/report")
    assert answer.value.code == 504
    assert "deadline" in json.load(answer.value)["detail"]
    service.stop()
    service.ended_well()


def client(service: Service) -> None:
    assert '"component": "stock"' in service.log.read_text("utf-8")
    service.stop()
    service.ended_well()


def finishes(service: Service) -> None:
    Answer(service, "/orders", {"id": 1}).__exit__()
    wait_for(lambda: service.did("charge 1"), "the order whose client has left")
    service.stop()
    service.ended_well()


def upload(service: Service) -> None:
    assert service.text("/images/a", "x" * 2**21, method="PUT") == f'{{"size":{2**21 + 2}}}'
    service.stop()
    service.ended_well()


def time_left(service: Service) -> None:
    with Answer(service, "/import", {"number": 10_000}) as answer:
        wait_for(lambda: service.did("store 1"), "the first batch")
        service.stop()
        result = json.loads(answer.read())
    assert result["more"] is True
    assert result["done"] > 1
    service.ended_well()


def events(service: Service) -> None:
    with Answer(service, "/events") as answer:
        answer.read_some()
        service.stop()
        assert "event: goodbye" in answer.read()
    service.ended_well()


def finite(service: Service) -> None:
    with Answer(service, "/answers", {"text": "why?"}) as answer:
        answer.read_some()
        service.stop()
        lines = [line for line in answer.read().splitlines() if line.startswith("{")]
    assert len(lines) == 30
    service.ended_well()


def heartbeat(service: Service) -> None:
    with Answer(service, "/feed") as answer:
        answer.read_some()
        service.stop()
        assert ": " in answer.read()
    service.ended_well()


def changes(service: Service) -> None:
    with Answer(service, "/changes") as answer:
        answer.read_some()
        service.stop()
        assert '{"after":7}' in answer.read()
    service.ended_well()


@dataclass(frozen=True)
class Example:
    """How to run a block: what must be there ``before``, ``after``, what it is ``within``, and what to look at."""

    look: object
    before: str = ""
    after: str = ""
    within: str = ""
    #: Another block that it needs, by its first line.
    needs: str = ""
    components: str = field(default="")


#: By the first line of code.
EXAMPLES = {
    '@router.post("/jobs", status_code=202)': Example(job),
    "service: Service = request.app.state.service": Example(spawned, within=IN_HANDLER),
    "# create_service() in src/app/main.py": Example(regular, within=IN_CREATE_SERVICE),
    "async def consume(queue: Queue) -> None:": Example(consumer, after=CONSUME),
    CREATED: Example(
        pool, after=f'{POOL}\n@router.get("/sum")\nasync def total(upto: int) -> int:\n    return sum(range(upto))'
    ),
    '@router.get("/sum")': Example(pool, needs=CREATED, after=POOL),
    'service.tasks.every(60, send_reminders, name="reminders", singleton=True)': Example(
        singleton, within=IN_CREATE_SERVICE
    ),
    "def held(self) -> Iterable[Held]:": Example(held, before=HELD, within=LENDER, after=LENDS),
    'ORDERS = Counter("orders", "Orders so far.", ["kind"])': Example(counted),
    '@router.get("/report")': Example(too_late, before=BUILD),
    "@contextlib.asynccontextmanager": Example(client, after='components.append(Component("stock", open_client))'),
    '@router.post("/orders")': Example(finishes),
    '@router.put("/images/{name}", max_body_size=20 * 1024 * 1024)': Example(upload),
    '@router.post("/import")': Example(time_left),
    '@router.get("/events", response_class=EventSourceResponse)': Example(events),
    '@router.post("/answers", dependencies=[Finite])': Example(finite),
    '@router.get("/feed")': Example(heartbeat),
    '@router.get("/changes")': Example(changes, before="from app.api.dependencies import Draining"),
}
