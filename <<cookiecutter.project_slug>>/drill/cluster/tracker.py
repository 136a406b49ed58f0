"""The watches of a release: its Deployment, pods, endpoints and events.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from drill.chart import Manifest
from drill.cluster import watch
from drill.cluster.api import Api
from drill.cluster.pods import ClusterTimeline, Pods
from drill.errors import DrillError
from drill.record import Change, Endpoint, PodRecord


def table(slices: Iterable[Manifest]) -> dict[str, Endpoint]:
    """Return the endpoints of a Service's slices by pod; a pod may be in two slices."""
    found: dict[str, Endpoint] = {}
    for each in slices:
        if each.get("addressType") != "IPv4":
            continue
        ports = each.get("ports") or [{}]
        for entry in each.get("endpoints") or []:
            target, conditions = entry.get("targetRef") or {}, entry.get("conditions") or {}
            # Defaults: ready is true, serving equals ready, terminating is false.
            ready = conditions.get("ready") is not False
            serving = conditions.get("serving")
            found[target.get("name", "")] = Endpoint(
                pod=target.get("name", ""),
                host=entry["addresses"][0],
                port=int(ports[0].get("port") or 0),
                serving=ready if serving is None else serving,
                terminating=bool(conditions.get("terminating")),
            )
    return found


def changes(at: float, old: dict[str, Endpoint], new: dict[str, Endpoint]) -> list[Change]:
    """Return the changes between two tables. ``seen_at`` is None: nodes do not report it."""
    gone = [Change(at, None, pod, None) for pod in old if pod not in new]
    return gone + [Change(at, None, pod, new[pod]) for pod in new if old.get(pod) != new[pod]]


See = Callable[[str, Manifest], None]
LISTED_SECONDS = 60.0


class Tracker:
    """Follows one release from ``start`` to ``stop``."""

    def __init__(self, api: Api, namespace: str, pods: Pods, timeline: ClusterTimeline) -> None:
        self.deployment: Manifest = {}
        self.pods = pods
        self.pods.follow = self._follow
        self.table: dict[str, Endpoint] = {}
        self.changes: list[Change] = []
        self._slices: dict[str, Manifest] = {}
        self._api = api
        self._namespace = namespace
        self._timeline = timeline
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._news = asyncio.Event()

    async def start(self, name: str, container: str, selector: str, service: str) -> None:
        """Follow a Deployment and its pods (``selector``); return when everything is listed."""
        self.pods.container = container
        apps, core = f"/apis/apps/v1/namespaces/{self._namespace}", self._core
        discovery = f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}"
        of_service = f"kubernetes.io/service-name={service}"
        begun = [
            self._watch(self.see_deployment, f"{apps}/deployments", field=f"metadata.name={name}"),
            self._watch(self.pods.see, f"{core}/pods", label=selector),
            self._watch(self._see_slice, f"{discovery}/endpointslices", label=of_service),
            self._watch(self._see_event, f"{core}/events", field="involvedObject.kind=Pod"),
        ]
        await self.until(
            lambda: all(listed.is_set() for listed in begun),
            LISTED_SECONDS,
            "the API server listed nothing",
        )

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, so: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Wait for a condition. Raises DrillError after ``seconds`` or if a watch fails."""
        try:
            async with asyncio.timeout(seconds):
                while not so():
                    if self._error is not None:
                        raise self._error
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            why, log = self.pods.problem()
            text = f"{otherwise} within {seconds:g} s" + (f": {why}." if why else ".")
            raise DrillError(text, log) from None

    def see_deployment(self, kind: str, found: Manifest) -> None:
        """Take a version of the Deployment, unless it is older: answers can overtake the watch."""
        known = self.deployment.get("metadata", {}).get("generation", 0)
        if kind != "DELETED" and found["metadata"]["generation"] >= known:
            self.deployment = found

    @property
    def _core(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}"

    def _see_slice(self, kind: str, found: Manifest) -> None:
        if kind == "DELETED":
            self._slices.pop(found["metadata"]["name"], None)
        else:
            self._slices[found["metadata"]["name"]] = found
        new = table(self._slices.values())
        self.changes += changes(self._timeline.now(), self.table, new)
        self.table = new

    def _see_event(self, kind: str, found: Manifest) -> None:
        if kind != "DELETED":
            self.pods.see_event(found)

    def _watch(self, see: See, path: str, *, label: str = "", field: str = "") -> asyncio.Event:
        chosen = {"labelSelector": label, "fieldSelector": field}
        query = {name: value for name, value in chosen.items() if value}
        listed = asyncio.Event()

        async def run() -> None:
            async for kind, found in watch.changes(self._api, path, **query):
                if kind == "LISTED":
                    listed.set()
                else:
                    see(kind, found)
                self._news.set()

        self._begin(run())
        return listed

    def _follow(self, record: PodRecord) -> None:
        """Copy the pod's log until the pod is gone and the log is complete."""
        name, container = record.name, self.pods.container

        async def copy() -> None:
            with record.log.open("a", encoding="utf-8") as file:
                async for line in watch.follow(
                    self._api,
                    f"{self._core}/pods/{name}/log",
                    container,
                    lambda: name not in self.pods.present,
                ):
                    file.write(line + "\n")
                    file.flush()

        self._begin(copy())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._error = self._error or error
            self._news.set()
