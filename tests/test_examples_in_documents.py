"""Every example in Python that a document of a new project shows, run in a service with the default settings."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from tests.around_examples import (
    AROUND,
    BUILD,
    CONSUME,
    CREATED,
    HELD,
    IN_CREATE_SERVICE,
    IN_HANDLER,
    LENDER,
    LENDS,
    MODELS,
    POOL,
)
from tests.template import Template, git, surroundings
from tests.test_generated_project import free_port, make

pytestmark = pytest.mark.slow
#: Seconds that anything may take which has no limit of its own; the machine may be busy.
PATIENCE = 60.0


@dataclass
class Service:
    """A service with one example in it."""

    process: "subprocess.Popen[str]"
    port: int
    management_port: int
    log: Path

    def ask(self, path: str, body: object = None, method: str = "", port: int = 0) -> IO[bytes]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.port}{path}",
            data,
            {"content-type": "application/json"},
            method=method or ("GET" if body is None else "POST"),
        )
        answer: IO[bytes] = urllib.request.urlopen(request, timeout=PATIENCE)  # noqa: S310
        return answer

    def text(self, path: str, body: object = None, method: str = "", port: int = 0) -> str:
        with self.ask(path, body, method, port) as answer:
            return answer.read().decode()

    def status(self) -> dict[str, object]:
        status: dict[str, object] = json.loads(self.text("/statusz", port=self.management_port))
        return status

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def did(self, what: str) -> bool:
        return f"DONE {what}" in self.log.read_text("utf-8")

    def ended_well(self) -> None:
        assert self.process.wait(PATIENCE) == 0, self.log.read_text("utf-8")


def wait_for(question: object, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not question():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


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


class Answer:
    """A response that is read to its end in pieces."""

    def __init__(self, service: Service, path: str, body: object = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.0\r\nhost: test\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        self._socket.sendall(head.encode() + data)
        self._text = b""

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def read_some(self) -> None:
        """Until something of the body has come."""
        while not self._text.partition(b"\r\n\r\n")[2]:
            self._text += self._socket.recv(4096)

    def read(self) -> str:
        """The whole body."""
        while more := self._socket.recv(65536):
            self._text += more
        head, _, body = self._text.partition(b"\r\n\r\n")
        assert b" 200 " in head, self._text
        return body.decode()


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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    template = Template.copied_to(tmp_path_factory.mktemp("documents"))
    template.add_inside_tests(leader_election="yes")  # whose runner the examples use
    project = template.bake(leader_election="yes")
    git("add", "--all", folder=project)
    make("setup", project)
    make(".venv/.helm", project)
    return project


def blocks(project: Path, language: str) -> list[str]:
    pages = [project / "README.md", project / "chart/README.md", *sorted((project / "docs").iterdir())]
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [block for page in pages for block in pattern.findall(page.read_text("utf-8"))]


def first_line(block: str) -> str:
    """The first that is no import."""
    return next(line for line in block.splitlines() if line and not line.startswith("from "))


@pytest.fixture
def python_blocks(project: Path) -> dict[str, str]:
    return {first_line(block): block for block in blocks(project, "python")}


def test_there_is_a_way_to_run_each(python_blocks: dict[str, str]) -> None:
    assert set(python_blocks) == set(EXAMPLES)


@contextlib.contextmanager
def running(project: Path, folder: Path, program: str) -> Iterator[Service]:
    (folder / "example.py").write_text(program, "utf-8")
    ports = free_port(), free_port()
    environment = {
        **{name: value for name, value in surroundings().items() if not name.startswith("APP_")},
        "APP_PORT": str(ports[0]),
        "APP_MANAGEMENT_PORT": str(ports[1]),
        "APP_CONTROL_SOCKET": str(folder / "control.sock"),
        "PYTHONPATH": str(project),
    }
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [project / ".venv/bin/python", folder / "example.py"],
            cwd=project,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
    service = Service(process, *ports, log)

    def ready() -> bool:
        assert process.poll() is None, log.read_text("utf-8")
        with contextlib.suppress(OSError):
            return service.text("/readyz", port=service.management_port) == "ok\n"
        return False

    try:
        wait_for(ready, "the service to be ready")
        yield service
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(log.read_text("utf-8"))  # noqa: T201


@pytest.mark.parametrize("first", EXAMPLES)
def test_an_example_in_python_does_what_its_page_says(
    project: Path, python_blocks: dict[str, str], first: str, tmp_path: Path
) -> None:
    example = EXAMPLES[first]
    block = python_blocks[first]
    if example.within:
        block = example.within + textwrap.indent(block, "    ")
    if example.needs:
        block = python_blocks[example.needs] + block
    before = MODELS + example.before
    program = AROUND.replace("{before}", before).replace("{block}", block).replace("{after}", example.after)
    with running(project, tmp_path, program) as service:
        assert callable(example.look)
        example.look(service)


def test_values_in_the_documents_render(project: Path, tmp_path: Path) -> None:
    rendered = 0
    for block in blocks(project, "yaml"):
        if block.startswith(("dependencies:", "static_resources:")):  # of another chart, of Envoy
            continue
        (tmp_path / "values.yaml").write_text(block, "utf-8")
        command = ["-m", "dev.helm", "template", "web", "chart", "--values", str(tmp_path / "values.yaml")]
        done = subprocess.run(
            [project / ".venv/bin/python", *command], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert "kind: Deployment" in done.stdout
        rendered += 1
    assert rendered > 3
