"""What the same service would be without its lifecycle.

``naive`` is plain uvicorn, ``sleep-15`` the same with a preStop hook that sleeps for 15 seconds.
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from drill.plan import Plan

#: The grace period that Kubernetes gives to pods that ask for none.
DEFAULT_GRACE_SECONDS = 30
SETTINGS_OF_THE_STOP = "APP_SHUTDOWN__"


def compared(plan: Plan, variant: str) -> Plan:
    """The same chart around plain uvicorn: probes on the main port, no hook but a sleep.

    Raises ValueError for a variant that there is not.
    """
    found = re.fullmatch(r"naive|sleep-([1-9]\d*)", variant)
    if found is None:
        raise ValueError(f"{variant!r} is neither naive nor sleep-SECONDS, as in sleep-15")
    patch = partial(_without_lifecycle, sleep=int(found[1] or 0))
    return replace(plan, patches=(*plan.patches, patch), variant=variant)


def _without_lifecycle(deployment: dict[str, Any], sleep: int) -> None:
    pod = deployment["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = DEFAULT_GRACE_SECONDS
    container = pod["containers"][0]
    container["command"] = ["python", "-c", _program()]
    container["args"] = []
    container.pop("lifecycle", None)
    if sleep:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": sleep}}}
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
