"""Watch the service on this machine, with the rules and the dashboard of the chart.

``python -m dev.observe`` runs observe/compose.yaml; with ``--local``, an installed Prometheus.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from dev.helm import HelmError, find

PROJECT = Path(__file__).resolve().parents[1]
BUILD = PROJECT / "build" / "observe"
NAME = "<< cookiecutter.project_slug >>"
#: Between two scrapes, and two looks at the rules.
INTERVAL = "5s"
#: As they would be in a cluster, so that rules and dashboard find the service.
LABELS = {"namespace": "local", "pod": f"{NAME}-local-1"}


def rules() -> Any:
    """The rules that the chart renders. Raises HelmError."""
    on = ("monitoring.enabled=true", "networkPolicy.enabled=false")
    more = [word for one in on for word in ("--set", one)]
    chart = str(PROJECT / "chart")
    only = ("--show-only", "templates/prometheusrule.yaml")
    text = find().run("template", NAME, chart, "--namespace", LABELS["namespace"], *more, *only)
    return yaml.safe_load(text)["spec"]


def configuration(target: str) -> Any:
    """That of a Prometheus next to rules.json."""
    targets: dict[str, Any] = {"static_configs": [{"targets": [target], "labels": LABELS}]}
#% if cookiecutter.drill == "yes"
    # `make drill` writes where its pods are.
    file = {"files": ["../drill/logs/targets.json"], "refresh_interval": INTERVAL}
    targets["file_sd_configs"] = [file]
#% endif
    return {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["rules.json"],
        "scrape_configs": [{"job_name": NAME, **targets}],
    }


def prepare(host: str) -> None:
    """Write what Prometheus reads into BUILD. Raises HelmError."""
    target = f"{host}:{os.environ.get('APP_MANAGEMENT_PORT', '8081')}"
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "rules.json").write_text(json.dumps(rules()), "utf-8")
    (BUILD / "prometheus.yml").write_text(yaml.safe_dump(configuration(target)), "utf-8")


def local(address: str = "127.0.0.1:9090") -> None:
    """Become Prometheus."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit(
            "prometheus is not installed: use `apt-get install prometheus` or "
            "`brew install prometheus`, or run it in a container: `make observe`."
        )
    prepare("127.0.0.1")
    sys.stderr.write(f"Alerts: http://{address}/alerts; queries: http://{address}/graph\n")
    os.chdir(BUILD)
    files = ("--config.file=prometheus.yml", "--storage.tsdb.path=data")
    listen = f"--web.listen-address={address}"
    os.execv(program, [program, *files, listen, "--log.level=warn"])


def containers() -> None:
    """Become Docker or Podman with the compose file."""
    program = shutil.which("docker") or shutil.which("podman")
    if program is None:
        sys.exit(
            "Neither docker nor podman is installed: install one, or use `make observe-local`, "
            "which needs only Prometheus."
        )
    prepare("host.docker.internal")
    sys.stderr.write("Grafana: http://127.0.0.1:3000; Prometheus: http://127.0.0.1:9090\n")
    os.execv(program, [program, "compose", "--file", str(PROJECT / "observe/compose.yaml"), "up"])


if __name__ == "__main__":
    try:
        local() if "--local" in sys.argv[1:] else containers()
    except HelmError as error:
        sys.exit(str(error))
