"""`make observe-local`: a real Prometheus reads a running service, shows it and alerts on it."""

import json
import shutil
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.observe import LABELS, NAME
from tests.chart.queries import dashboard, metrics, queries
from tests.conftest import Start
from tests.harness import HOST, PROJECT, Service, end, eventually, free_port

Api = Callable[..., Any]
#: Shows load shedding, a task that fails and whatever else is not always there.
EVERYTHING = {"APP_REQUESTS__MAX_IN_FLIGHT": "100"}
#% if cookiecutter.service_registry == "none"
APPLICATION = "tests.application"
#% else
APPLICATION = "tests.apps.registered"
EVERYTHING |= {"APP_REGISTRY__URL": f"http://{HOST}:9", "APP_REGISTRY__ADDRESS": HOST}
EVERYTHING |= {"APP_REGISTRY__READERS_SECONDS": "1"}
#% endif
#: Panels with nothing to show while all is well.
OF_TROUBLE = {
    "Alerts",
    "Failed requests",
    "Failing routes",
    "Cut off by a stop",
    "Served while draining",
}
#: Once every 30 seconds.
OF_THE_SLO = {"Burn rate"}

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)


def names(service: Service) -> set[str]:
    """Of every sample that /metrics can have."""
    found: set[str] = set()
    for line in service.probe("metrics").body.decode().splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            parts = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
            found |= {name + part for part in parts}
    return found


def test_every_metric_of_rules_and_dashboard_is_served(serve: Start) -> None:
    service = serve(APPLICATION, **EVERYTHING)
    wanted = set().union(*map(metrics, queries().values()))
    own = {n for n in wanted if n.startswith(("app_", "http_", "process_", "python_"))}
#% if cookiecutter.tls == "yes"
    own -= {n for n in own if n.startswith("app_tls_")}  # served with a certificate only
#% endif
    assert len(own) > 30
    assert own - names(service) == set()


@pytest.fixture
def prometheus(serve: Start, tmp_path: Path) -> Iterator[tuple[Service, Api]]:
    service = serve(APPLICATION, **EVERYTHING)
    address = f"{HOST}:{free_port()}"
    code = (
        "import dev.observe as o, pathlib; "
        f"o.BUILD, o.INTERVAL = pathlib.Path({str(tmp_path)!r}), '1s'; o.local({address!r})"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=service.environment,
    )

    def ask(path: str, **query: str) -> Any:
        url = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]

    def seen() -> bool:
        try:
            return bool(ask("query", query="up == 1")["result"])
        except OSError:
            assert program.poll() is None
            return False

    try:
        eventually(seen, "a scrape")
        yield service, ask
    finally:
        end(program)


@needs_prometheus
def test_prometheus_alerts_on_a_blocked_loop_and_has_what_the_dashboard_asks(
    prometheus: tuple[Service, Api],
) -> None:
    service, ask = prometheus
    blocking = threading.Thread(target=service.get, args=("/block?seconds=9",))
    service.get("/hello")
    blocking.start()

    def alerts() -> dict[str, Any]:
        return {one["labels"]["alertname"]: one for one in ask("alerts")["alerts"]}

    alert: Any = eventually(lambda: alerts().get("EventLoopBlocked"), "the alert")
    blocking.join()
    assert alert["state"] == "firing"
    assert alert["labels"]["pod"] == LABELS["pod"]
    assert LABELS["pod"] in alert["annotations"]["summary"]
    assert [
        rule for group in ask("rules")["groups"] for rule in group["rules"] if rule.get("lastError")
    ] == []

    def empty() -> set[str]:
        """Panels without a series, but for those about Kubernetes."""
        asked = queries(job=NAME, namespace=LABELS["namespace"])
        shown = {
            place.rpartition(" ")[0]
            for place, query in asked.items()
            if ask("query", query=query)["result"]
            or all(n.startswith("kube") for n in metrics(query))
        }
        titles = {panel["title"] for panel in dashboard()["panels"] if panel["type"] != "row"}
        return titles - shown - OF_TROUBLE - OF_THE_SLO

    eventually(lambda: not empty(), "something in every panel")


def test_without_prometheus_it_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dev.observe", "--local"],
        cwd=PROJECT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("prometheus is not installed: ")


def test_without_a_container_engine_it_names_the_alternative(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dev.observe"],
        cwd=PROJECT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "use `make observe-local`" in done.stderr


def test_the_compose_file_runs_what_is_pinned() -> None:
    compose = yaml.safe_load((PROJECT / "observe/compose.yaml").read_text("utf-8"))
    for service in compose["services"].values():
        assert service["image"].partition(":")[2] not in ("", "latest")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service.get("volumes", ()):
            place = (PROJECT / "observe" / volume.partition(":")[0]).resolve()
            assert place.exists() or place == PROJECT / "build" / "observe"
        assert {one["source"] for one in service.get("configs", ())} <= set(compose["configs"])
