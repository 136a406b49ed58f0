"""Objects of any kind: where the API has them, put there and removed."""

import asyncio
from typing import Any

from drill.backend import Manifest
from drill.cluster.api import APPLY, Api, ApiError
from drill.cluster.undo import Undo
from drill.errors import DrillError

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
