"""[drill.cluster.undo] What the drill has to take back in somebody's cluster, however it ends.
[drill.cluster.resources] Objects of any kind: where the API has them, put there and removed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from drill.chart import Manifest
from drill.cluster.api import APPLY, Api, ApiError
from drill.errors import DrillError


@dataclass(frozen=True)
class Step:
    what: str
    #: How a person does it.
    command: str
    act: Callable[[], Awaitable[object]]


class Undo:
    """Steps, carried out in reverse order."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._steps: list[Step] = []
        self._say = say

    def add(self, what: str, command: str, act: Callable[[], Awaitable[object]]) -> Step:
        """Before the thing is made: a call whose answer is lost may have made it."""
        self._steps.append(Step(what, command, act))
        return self._steps[-1]

    def drop(self, step: Step) -> None:
        self._steps.remove(step)

    async def run(self) -> None:
        """All steps, also when some fail and when it is interrupted on the way.

        Raises DrillError that says what is left and how to remove it.
        """
        work = asyncio.create_task(self._all())
        interrupt: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError as error:
                if work.cancelled():
                    raise
                interrupt = error
                self._say("still removing what the drill made in the cluster")
            except DrillError:
                break
        if interrupt is not None and work.exception() is None:
            raise interrupt
        work.result()

    async def _all(self) -> None:
        left: list[str] = []
        while self._steps:
            step = self._steps[-1]
            try:
                await step.act()
            except asyncio.CancelledError:
                self._say("left in the cluster; " + "; ".join(s.command for s in self._steps))
                raise
            except Exception as error:  # whatever it is, the other steps have to be made
                left.append(f"{step.what} is not undone, {error} Run `{step.command}`.")
            self._steps.pop()
        if left:
            raise DrillError(" ".join(left))


#: A namespace goes when everything in it has gone.
NAMESPACE_SECONDS = 120.0
MANAGER = "drill"
#: On everything that the drill makes: the name of its release.
LABEL = "drill/release"


class Resources:
    """Objects in one namespace of one cluster."""

    def __init__(self, api: Api, namespace: str, undo: Undo) -> None:
        self._api = api
        self._undo = undo
        self._namespace = namespace
        self._kinds: dict[tuple[str, str], Manifest] = {}

    def kubectl(self, command: str) -> str:
        return f"kubectl --context {self._api.context} --namespace {self._namespace} {command}"

    async def apply(self, found: Manifest, release: str) -> Manifest:
        """Server-side, as `kubectl apply --server-side --force-conflicts`; removed at the end.

        Raises DrillError for what was there before: it is not the drill's to change.
        """
        name = found["metadata"]["name"]
        kind = await self._kind(found)
        plural, what = kind["name"], f"{found['kind']} {name}"
        path = f"{self._prefix(found, kind)}/{plural}/{name}"
        if await self.exists(path):
            raise DrillError(f"{what} is there already: see `{self.kubectl(f'get {plural}')}`.")
        found["metadata"].setdefault("labels", {})[LABEL] = release
        command = self.kubectl(f"delete {plural}/{name}")
        step = self._undo.add(what, command, lambda: self.remove(path))
        query = {"fieldManager": MANAGER, "force": "true"}
        try:
            return await self._api.repeat("PATCH", path, query=query, body=found, content=APPLY)
        except ApiError as error:
            if not error.passing:
                self._undo.drop(step)  # refused: there is nothing to remove
            raise

    async def exists(self, path: str) -> bool:
        try:
            await self._api.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    async def remove(self, path: str, grace: float | None = None) -> None:
        """Does not wait for what takes its time; what is gone already is well.

        ``grace`` is in whole seconds, for a pod that is not to have its own grace period.
        """
        query = {"propagationPolicy": "Background"}
        if grace is not None:
            query["gracePeriodSeconds"] = f"{grace:.0f}"
        try:
            await self._api.repeat("DELETE", path, query=query)
        except ApiError as error:
            if error.status != 404:
                raise

    async def namespace(self, release: str) -> None:
        """Makes the namespace where there is none, and then removes it at the end."""
        path = f"/api/v1/namespaces/{self._namespace}"
        try:
            if await self.exists(path):
                return
        except ApiError as error:
            if error.status == 403:  # not allowed to know; the next call will tell
                return
            raise
        body: Manifest = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self._namespace, "labels": {LABEL: release}},
        }

        async def remove() -> None:
            await self.remove(path)
            async with asyncio.timeout(NAMESPACE_SECONDS):
                while await self.exists(path):  # noqa: ASYNC110 - the API has to be asked
                    await asyncio.sleep(0.5)

        self._undo.add(
            f"Namespace {self._namespace}",
            f"kubectl --context {self._api.context} delete namespace {self._namespace}",
            remove,
        )
        query = {"fieldManager": MANAGER}
        await self._api.repeat("PATCH", path, query=query, body=body, content=APPLY)

    async def _kind(self, found: Manifest) -> dict[str, Any]:
        """What the API says of a kind."""
        version, kind = found["apiVersion"], found["kind"]
        if (version, kind) not in self._kinds:
            path = f"/apis/{version}" if "/" in version else f"/api/{version}"
            try:
                listed = (await self._api.get(path))["resources"]
            except ApiError as error:
                if error.status != 404:
                    raise
                listed = []
            for each in listed:
                if "/" not in each["name"]:  # those with a slash are parts of others
                    self._kinds[version, each["kind"]] = each
        if (version, kind) not in self._kinds:
            raise DrillError(
                f"the cluster has no {kind} of {version}: install what brings it, "
                "or leave it out by a value of the chart."
            )
        return self._kinds[version, kind]

    def _prefix(self, found: Manifest, kind: Manifest) -> str:
        version = found["apiVersion"]
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        return f"{prefix}/namespaces/{self._namespace}" if kind["namespaced"] else prefix
