"""What objects of the API say, case by case, and logs that come again."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

pytest.importorskip("kubernetes", reason="the package `kubernetes` is not installed")

from drill.cluster import tracker, watch
from drill.cluster.api import Api, ApiError
from drill.cluster.pods import hopeless, pod_events, waiting_reason
from drill.cluster.release import cluster_ip, service_for
from drill.errors import DrillError
from drill.record import Endpoint

Json = dict[str, Any]


def pod(
    *, deleted: bool = False, ready: bool = False, phase: str = "Running", **status: Any
) -> Json:
    meta = {"name": "p", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})}
    condition = {"type": "Ready", "status": str(ready)}
    return {
        "metadata": meta,
        "spec": {},
        "status": {"phase": phase, "conditions": [condition], **status},
    }


def app(state: Json, last: Json | None = None, identity: str = "c1") -> Json:
    status = {"name": "app", "state": state, "lastState": last or {}, "containerID": identity}
    return {"containerStatuses": [{"name": "sidecar", "state": {}}, status]}


RUNNING: Json = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def ended(code: int, reason: str = "Error", identity: str = "c1") -> Json:
    return {"terminated": {"exitCode": code, "reason": reason, "containerID": identity}}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param({}, pod(phase="Pending"), [], id="made"),
        pytest.param({}, pod(ready=True, **app(RUNNING)), ["started", "ready"], id="seen late"),
        pytest.param(
            {}, pod(**app(RUNNING, ended(1, identity="c0"))), ["started"], id="an old crash"
        ),
        pytest.param(pod(), pod(**app(RUNNING)), ["started"], id="started"),
        pytest.param(pod(), pod(ready=True), ["ready"], id="ready"),
        pytest.param(pod(ready=True), pod(), ["unready"], id="unready"),
        pytest.param(pod(), pod(deleted=True), ["deleted"], id="deleted"),
        pytest.param(pod(deleted=True), pod(deleted=True), [], id="still deleted"),
        pytest.param(
            pod(deleted=True, **app(RUNNING)),
            pod(deleted=True, **app(ended(0, "Completed"))),
            ["exited: code 0"],
            id="stopped",
        ),
        pytest.param(
            pod(ready=True, **app(RUNNING)),
            pod(**app(ended(137, "OOMKilled"))),
            [
                "exited: code 137, OOMKilled",
                "restarting: its container ended with code 137",
                "unready",
            ],
            id="killed",
        ),
        pytest.param(
            pod(**app(ended(137))),
            pod(**app(RUNNING, ended(137), "c2")),
            ["started"],
            id="started again",
        ),
        pytest.param(
            pod(**app(RUNNING)),
            pod(
                phase="Failed",
                reason="Evicted",
                message="The node was low on memory",
                **app(ended(0)),
            ),
            ["evicted: The node was low on memory", "exited: code 0"],
            id="evicted",
        ),
        pytest.param(pod(), pod(containerStatuses=None, conditions=None), [], id="nulls"),
    ],
)
def test_what_has_happened_to_a_pod(old: Json, new: Json, told: list[str]) -> None:
    found = [f"{what}: {detail}".removesuffix(": ") for what, detail in pod_events(old, new, "app")]
    assert found == told


@pytest.mark.parametrize(
    ("status", "why", "without_hope"),
    [
        (app({"waiting": {"reason": "ContainerCreating"}}), "", False),
        (
            app({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}),
            "ImagePullBackOff: Back-off",
            True,
        ),
        (app({"waiting": {"reason": "ErrImagePull"}}), "ErrImagePull", False),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]},
            "0/1 nodes",
            False,
        ),
        ({"initContainerStatuses": [app(RUNNING)["containerStatuses"][1]]}, "", False),
    ],
)
def test_why_a_pod_does_not_start(status: Json, why: str, without_hope: bool) -> None:
    found = pod(**status)
    assert waiting_reason(found) == why
    assert hopeless(found) is without_hope


def entry(name: str, **conditions: bool | None) -> Json:
    return {"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"name": name}}


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({"ready": True, "serving": True, "terminating": False}, (True, True, False)),
        ({"ready": False, "serving": True, "terminating": True}, (False, True, True)),
        ({"ready": False, "serving": False, "terminating": True}, (False, False, True)),
        ({"ready": False}, (False, False, False)),
        ({"ready": None, "serving": None, "terminating": None}, (True, True, False)),
        ({}, (True, True, False)),
    ],
)
def test_conditions_of_an_endpoint_and_what_they_are_when_nothing_is_said(
    conditions: Json, state: tuple[bool, bool, bool]
) -> None:
    found = tracker.table(
        [
            {
                "addressType": "IPv4",
                "endpoints": [entry("a", **conditions)],
                "ports": [{"port": 80}],
            },
            {"addressType": "IPv6", "endpoints": [entry("b")]},
            {"addressType": "IPv4", "endpoints": None, "ports": None},
        ]
    )
    assert list(found) == ["a"]
    assert (found["a"].ready, found["a"].serving, found["a"].terminating) == state


def test_changes_of_endpoints_are_what_differs() -> None:
    def of(*entries: Json) -> dict[str, Endpoint]:
        return tracker.table([{"addressType": "IPv4", "endpoints": list(entries)}])

    found = tracker.changes(1.5, of(entry("a"), entry("b")), of(entry("b"), entry("c")))
    assert [(c.at, c.seen_at, c.pod, c.endpoint is None) for c in found] == [
        (1.5, None, "a", True),
        (1.5, None, "c", False),
    ]


def service(**spec: Any) -> Json:
    return {"metadata": {"name": "s"}, "spec": spec}


def test_the_service_is_the_one_that_selects_the_pods_and_has_an_address() -> None:
    template = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    deployment = {"metadata": {"name": "d"}, "spec": {"template": template}}
    wanted = service(selector={"a": "1"}, clusterIPs=["fd00::1", "10.0.0.1"])
    others = [
        service(),
        service(selector={"a": "2"}),
        service(selector={"a": "1"}, clusterIP="None"),
    ]
    assert service_for([*others, wanted], deployment) is wanted
    assert cluster_ip(wanted) == "10.0.0.1"
    with pytest.raises(DrillError, match="no Service with a cluster IP selects the pods of d"):
        service_for(others, deployment)
    with pytest.raises(DrillError, match="Service s has no IPv4 address"):
        cluster_ip(service(clusterIP="fd00::1"))


class Canned(Api):
    """An API server whose log is told in parts, each of which ends in a cut."""

    def __init__(self, *parts: list[str]) -> None:
        self.parts = list(parts)
        self.since: list[str] = []

    async def lines(
        self, path: str, query: Any, silence: float | None = None
    ) -> AsyncGenerator[bytes, None]:
        self.since.append(query.get("sinceTime", ""))
        if not self.parts:
            raise ApiError(404, "gone.")
        for line in self.parts.pop(0):
            yield line.encode()
        raise ApiError(0, "cut.")


def test_lines_of_a_log_are_told_once_and_in_order() -> None:
    same = "2026-01-01T00:00:00.5Z"
    later = "2026-01-01T00:00:00.500000001Z"
    api = Canned(
        [f"{same} a", f"{same} b"],
        [f"{same} a", f"{same} b", f"{same} c", f"{later} d", f"{same} late"],
        ["2026-01-01T00:00:00.500000000Z a", f"{later} d", "2026-01-01T00:00:01Z "],
    )

    async def told() -> list[str]:
        return [line async for line in watch.follow(api, "/log", "app", lambda: False)]

    assert asyncio.run(told()) == ["a", "b", "c", "d", "late", ""]
    assert api.since == ["", same, later, "2026-01-01T00:00:01Z"]
