"""The Deployment: updated, rolled back, scaled, and told to be complete as kubectl tells it."""

import asyncio
from collections.abc import Callable
from copy import deepcopy

from drill.backend import Manifest, Patch
from drill.cluster.api import MERGE, Api, ApiError
from drill.cluster.tracker import Tracker
from drill.errors import DrillError

#: Writes that another one came before, or whose answer was lost.
ATTEMPTS = 20


class Rollout:
    """One Deployment under drill; ``path`` is where the API has it."""

    def __init__(self, api: Api, path: str, tracker: Tracker) -> None:
        self._api = api
        self._path = path
        self._tracker = tracker
        #: The pod templates of all revisions, as the API has completed them.
        self._templates: list[Manifest] = []

    async def installed(self) -> None:
        """The first revision is what is there now."""
        found = await self._api.get(self._path)
        self._tracker.see_deployment("ADDED", found)
        self._templates = [deepcopy(found["spec"]["template"])]

    async def update(self, patch: Patch) -> None:
        self._tracker.pods.next_revision()
        found = await self.replace(patch)
        self._templates.append(deepcopy(found["spec"]["template"]))

    async def roll_back(self) -> None:
        template = deepcopy(self._templates[-2])
        # The ReplicaSet of that template is used again.
        self._tracker.pods.next_revision(same_as=len(self._templates) - 1)
        await self.replace(lambda deployment: deployment["spec"].update(template=template))
        self._templates.append(template)

    async def scale(self, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        found = await self._api.repeat("PATCH", self._path, body=body, content=MERGE)
        self._tracker.see_deployment("MODIFIED", found)

    async def replace(self, change: Patch) -> Manifest:
        """Read, changed and written back; from the start when somebody wrote in between.

        A write whose answer was lost may have been made: it is not made twice.
        """
        written: Manifest | None = None
        for _ in range(ATTEMPTS):
            found = await self._api.get(self._path)
            if written is not None and found["spec"] == written["spec"]:
                break
            written = deepcopy(found)
            change(written)
            try:
                found = await self._api.call("PUT", self._path, body=written)
                break
            except ApiError as error:
                if error.status != 409 and not error.passing:
                    raise
                await asyncio.sleep(error.after)
        else:
            raise DrillError(f"{self._path} is written to by others all the time: stop them.")
        self._tracker.see_deployment("MODIFIED", found)
        return found

    @property
    def replicas(self) -> int:
        return int(self._tracker.deployment["spec"]["replicas"])

    def complete(self) -> bool:
        """As `kubectl rollout status`: old pods may still be there, being deleted."""
        deployment = self._tracker.deployment
        status = deployment.get("status", {})
        if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
            return False
        updated = status.get("updatedReplicas", 0)
        return bool(
            updated == self.replicas
            and status.get("replicas", 0) == updated
            and status.get("availableReplicas", 0) >= updated
        )

    def stuck(self) -> bool:
        """Whether the Deployment controller gave up, as progressDeadlineSeconds says."""
        deployment = self._tracker.deployment
        status = deployment.get("status", {})
        if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
            return False
        return any(
            condition["type"] == "Progressing"
            and condition.get("reason") == "ProgressDeadlineExceeded"
            for condition in status.get("conditions") or []
        )

    async def completed(self, deadline: float, hopeless: Callable[[], bool] | None = None) -> None:
        """``deadline`` is progressDeadlineSeconds; it starts again with every pod that is ready.

        Raises DrillError when it has passed, or as soon as it is ``hopeless``.
        """

        def decided() -> bool:
            return self.complete() or self.stuck() or (hopeless is not None and hopeless())

        within = deadline * (self.replicas + 1)
        await self._tracker.until(decided, within, "the rollout was not complete")
        if not self.complete():
            why, log = self._tracker.pods.complaint()
            raise DrillError("the rollout makes no progress" + (f": {why}." if why else "."), log)

    def settled(self) -> bool:
        """Complete, every pod serves, no other is left, and the endpoints are theirs."""
        pods, table = self._tracker.pods, self._tracker.table
        return (
            self.complete()
            and pods.all_serve(self.replicas)
            and table.keys() == pods.present.keys()
            and all(endpoint.ready for endpoint in table.values())
        )
