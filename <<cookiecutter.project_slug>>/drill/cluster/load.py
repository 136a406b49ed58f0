"""The load in the cluster: a Job that calls the Service, so that kube-proxy picks the pods."""

import asyncio

from drill.backend import LoadResult, Manifest
from drill.cluster import job, logs
from drill.cluster.api import MERGE, Api, ApiError
from drill.cluster.clock import ClusterTimeline
from drill.cluster.feed import Feed
from drill.cluster.resources import Resources
from drill.cluster.sightings import ended, trouble
from drill.errors import DrillError
from drill.load.__main__ import Options

#: From the Job to the first request: its pod is scheduled, its image perhaps pulled.
START_SECONDS = 180.0
#: From the signal to the last line.
STOP_SECONDS = job.GRACE_SECONDS + 15.0
PAUSE_SECONDS = 0.2


class ClusterLoad:
    """From ``start`` to ``stop``."""

    def __init__(
        self, api: Api, namespace: str, resources: Resources, timeline: ClusterTimeline
    ) -> None:
        self._api = api
        self._core = f"/api/v1/namespaces/{namespace}"
        self._namespace = namespace
        self._resources = resources
        self._feed = Feed(timeline)
        self._reading: asyncio.Task[None] | None = None
        self._pod = ""
        #: Why the pod does not start, as far as it says.
        self._trouble = ""

    async def start(self, release: str, deployment: Manifest, options: Options) -> None:
        """Returns when the first requests are under way."""
        name = f"{release}-load"
        config = await self._resources.apply(job.config_map(name, options), release)
        made = await self._resources.apply(job.job(name, deployment, release), release)
        await self._hand_over(config, made)
        try:
            async with asyncio.timeout(START_SECONDS):
                self._pod = await self._started(name)
                self._reading = asyncio.create_task(self._read())
                begun = asyncio.create_task(self._feed.begun.wait())
                try:
                    await asyncio.wait([self._reading, begun], return_when="FIRST_COMPLETED")
                finally:
                    begun.cancel()
        except TimeoutError:
            see = f"see `{self._resources.kubectl(f'describe job/{name}')}`"
            raise DrillError(
                f"the load did not begin within {START_SECONDS:g} s: {self._trouble or see}."
            ) from None
        if self._reading.done():
            await self._reading
            self._feed.result()  # raises with the reason

    async def stop(self) -> LoadResult:
        """SIGTERM, by the deletion of the pod; then all that its log has to say."""
        assert self._reading is not None
        await self._resources.remove(f"{self._core}/pods/{self._pod}")
        done, _ = await asyncio.wait([self._reading], timeout=STOP_SECONDS)
        for reading in done:
            reading.result()
        return self._feed.result()

    async def cancel(self) -> None:
        """Nothing is read any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _hand_over(self, config: Manifest, made: Manifest) -> None:
        """The ConfigMap goes with the Job: a drill that is killed leaves nothing for ever."""
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": made["metadata"]["name"],
            "uid": made["metadata"]["uid"],
        }
        path = f"{self._core}/configmaps/{config['metadata']['name']}"
        body = {"metadata": {"ownerReferences": [owner]}}
        await self._api.repeat("PATCH", path, body=body, content=MERGE)

    async def _started(self, name: str) -> str:
        """The name of the Job's pod, once its container has run."""
        selector = f"batch.kubernetes.io/job-name={name}"
        while True:
            pods = (await self._api.get(f"{self._core}/pods", labelSelector=selector))["items"]
            for pod in pods:
                if pod.get("status", {}).get("phase") == "Running" or ended(pod):
                    return str(pod["metadata"]["name"])
                self._trouble = trouble(pod)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self) -> None:
        """The log up to its last line, from its beginning whenever the connection was cut."""
        path = f"{self._core}/pods/{self._pod}"
        while True:
            over = await self._is_over(path)
            self._feed.noise.clear()
            async for line in logs.follow(self._api, f"{path}/log", "load", lambda: True):
                self._feed.take(line)
            if over or self._feed.last is not None:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _is_over(self, path: str) -> bool:
        try:
            return ended(await self._api.get(path))
        except ApiError as error:
            if error.status != 404:
                raise
            return True
