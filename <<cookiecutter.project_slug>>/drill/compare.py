"""What the same service would be without its lifecycle."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from drill.plan import Plan

#: The grace period that Kubernetes gives to pods that ask for none.
DEFAULT_GRACE_SECONDS = 30
SETTINGS_OF_THE_STOP = "APP_SHUTDOWN__"


def naive(plan: Plan) -> Plan:
    """The same chart around plain uvicorn: probes on the main port, no hook."""
    return replace(plan, patches=(*plan.patches, _without_lifecycle), variant="naive")


def _without_lifecycle(deployment: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = DEFAULT_GRACE_SECONDS
    container = pod["containers"][0]
    container["command"] = ["python", "-c", _program()]
    container["args"] = []
    container.pop("lifecycle", None)
    container["env"] = [
        variable
        for variable in container.get("env", ())
        if not variable["name"].startswith(SETTINGS_OF_THE_STOP)
    ]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "httpGet" in container.get(name, {}):
            container[name]["httpGet"]["port"] = "http"


def _program() -> str:
    return Path(__file__).with_name("naive.py").read_text("utf-8")
