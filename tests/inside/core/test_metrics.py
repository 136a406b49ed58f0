"""What Prometheus reads on the management port, and that it can read it."""

import re
import time

import pytest

from app.observability.metrics import Metric, exposition
from tests.conftest import Start
from tests.harness import Service, eventually

NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
LABEL = rf'{NAME}="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})((?:\{{{LABEL}(?:,{LABEL})*\}})?) (\S+)")
Samples = dict[str, float]


def parsed(text: str) -> Samples:
    """Name and labels of each sample as they are written, with its value.

    Strict: HELP, TYPE and samples of a metric stand together, in this order and once.
    """
    assert text.endswith("\n")
    samples: Samples = {}
    described: list[str] = []
    kind = ""
    lines = iter(text.removesuffix("\n").split("\n"))
    for line in lines:
        if line.startswith("#"):
            marker, word, name, *meaning = line.split(" ", 3)
            assert (marker, word, bool(meaning)) == ("#", "HELP", True)
            assert name not in described
            described.append(name)
            marker, word, typed, kind = next(lines).split(" ")
            assert (marker, word, typed) == ("#", "TYPE", name)
            assert kind in ("gauge", "counter", "histogram")
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        name, labels, value = sample.groups()
        if kind == "histogram":
            assert name in [described[-1] + part for part in ("_bucket", "_sum", "_count")]
        else:
            assert name == described[-1]
        assert (kind == "counter") == name.endswith("_total")
        assert name + labels not in samples
        samples[name + labels] = float(value)
    return samples


def metrics(service: Service) -> Samples:
    answer = service.probe("metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.body.decode())


def test_labels_are_escaped() -> None:
    labels = {"a": 'back\\slash "quoted"\nnext', "b": "ü{},="}
    text = exposition([Metric("x", "gauge", "one\\\ntwo", [(labels, 0.5), ({}, 3)])])
    assert text == (
        "# HELP x one\\\\\\ntwo\n"
        "# TYPE x gauge\n"
        'x{a="back\\\\slash \\"quoted\\"\\nnext",b="ü{},="} 0.5\n'
        "x 3\n"
    )
    assert list(parsed(text).values()) == [0.5, 3]


def test_they_are_on_the_management_port_alone(serve: Start) -> None:
    service = serve()
    assert metrics(service)["app_ready"] == 1
    assert service.get("/metrics").status == 404


def test_they_count_what_goes_on(serve: Start) -> None:
    service = serve()
    before = metrics(service)
    assert before["app_requests_in_flight"] == before["app_streams_open"] == 0
    assert abs(before["process_start_time_seconds"] - time.time()) < 60
    service.connect().ask("/slow?seconds=30")
    service.connect().ask("/events")
    service.busy(1)
    eventually(lambda: service.status()["streams"] == 1, "the stream")
    now = metrics(service)
    assert now["app_requests_in_flight"] == now["app_streams_open"] == 1
    assert now["app_connections_open"] == 2
    assert now["app_connections_accepted_total"] == before["app_connections_accepted_total"] + 2


def test_the_phase_flips_while_it_drains(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="2")

    def phases(samples: Samples) -> dict[str, float]:
        return {name: value for name, value in samples.items() if name.startswith("app_phase{")}

    before = metrics(service)
    assert len(phases(before)) == 5
    assert [name for name, value in phases(before).items() if value] == ['app_phase{phase="ready"}']
    assert before["app_drain_seconds"] == 0
    service.drain()
    now = metrics(service)
    assert [name for name, value in phases(now).items() if value] == ['app_phase{phase="draining"}']
    assert now["app_ready"] == 0
    assert 0 < now["app_drain_seconds"] < 20
    assert service.ended() == 0


def test_a_blocked_loop_shows(serve: Start) -> None:
    service = serve()
    with service.connect() as connection:
        connection.ask("/block?seconds=5")
        eventually(lambda: metrics(service)["app_event_loop_stalled_seconds"] > 0.5, "the stall")
        assert connection.response().status == 200


@pytest.mark.parametrize(
    "sample",
    ['app_check_well{check="gate",gating="true"}', 'app_check_well{check="shared",gating="false"}'],
)
def test_checks_show(serve: Start, sample: str) -> None:
    service = serve("tests.apps.work")
    eventually(lambda: metrics(service)[sample] == 1, "the first round")
    service.get(f"/check/{sample.split(chr(34))[1]}/ill")
    eventually(lambda: metrics(service)[sample] == 0, "the check")


def test_background_work_shows(serve: Start) -> None:
    service = serve("tests.apps.work")
    running = metrics(service)["app_tasks_running"]
    service.get("/spawn/long")
    for _ in range(2):
        service.get("/spawn/failing")
    failures = 'app_task_failures_total{task="failing"}'
    eventually(lambda: metrics(service).get(failures) == 2, "the failures")
    # A task fails a moment before it is forgotten, and another thread reads the two.
    eventually(lambda: metrics(service)["app_tasks_running"] == running + 1, "the long one")
