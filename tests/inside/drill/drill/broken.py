"""Services that are broken in one way each: changes of the rendered Deployment."""

from collections.abc import Callable
from typing import Any

Manifest = dict[str, Any]
Patch = Callable[[Manifest], None]


def container(deployment: Manifest) -> Manifest:
    found: Manifest = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def with_variables(**variables: object) -> Patch:
    def patch(deployment: Manifest) -> None:
        env = container(deployment)["env"]
        env[:] = [one for one in env if one["name"] not in variables]
        env += [{"name": name, "value": str(value)} for name, value in variables.items()]

    return patch


#: The listener closes as soon as nothing is in flight.
no_floor = with_variables(
    APP_KUBERNETES__SERVICES="",
    APP_SHUTDOWN__FLOOR_SECONDS=0,
    APP_SHUTDOWN__FALLBACK_SECONDS=0,
    APP_SHUTDOWN__QUIET_SECONDS=0,
    APP_SHUTDOWN__LIMIT_SECONDS=1,
)

#: What a request needs, and what the drain gives it.
hanging_handler = with_variables(
    APP_REQUESTS__TIMEOUT_SECONDS=0,
    APP_SHUTDOWN__FALLBACK_SECONDS=1,
    APP_SHUTDOWN__LIMIT_SECONDS=3,
    APP_SHUTDOWN__STREAM_SPREAD_SECONDS=0.1,
)


def no_readiness_flip(deployment: Manifest) -> None:
    container(deployment)["readinessProbe"]["httpGet"]["path"] = "/livez"


def no_readiness_probe(deployment: Manifest) -> None:
    del container(deployment)["readinessProbe"]


def wrong_grace(deployment: Manifest) -> None:
    """Even with the 2 s that the kubelet adds for SIGTERM it ends before the floor does."""
    with_variables(APP_SHUTDOWN__FLOOR_SECONDS=8)(deployment)
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1


def sleep_in_the_hook(deployment: Manifest) -> None:
    container(deployment)["lifecycle"] = {"preStop": {"sleep": {"seconds": 3}}}


def missing_program_in_the_hook(deployment: Manifest) -> None:
    container(deployment)["lifecycle"] = {"preStop": {"exec": {"command": ["sh-is-not-here"]}}}


def impatient_liveness(deployment: Manifest) -> None:
    probe = container(deployment)["livenessProbe"]
    probe |= {"httpGet": {"path": "/hello", "port": "http"}}
    probe |= {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
