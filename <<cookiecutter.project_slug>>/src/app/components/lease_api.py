"""The Lease (coordination.k8s.io/v1) in the Kubernetes API.

The client is imported on first use, in a thread: it takes most of a second, in which
the service already serves.
"""

import asyncio
import contextlib
import importlib
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from app.lifecycle.event import Event
from app.lifecycle.kubernetes.identity import Identity
from app.lifecycle.settings import Kubernetes, LeaderElection

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

#: Seconds after which a watch is renewed.
WATCH = 300


class ApiError(Exception):
    """The API failed; the message says what is missing."""


class ConflictError(Exception):
    """The Lease was changed since it was read."""


class AbsentError(Exception):
    """The Lease does not exist."""


@dataclass(frozen=True, slots=True)
class Record:
    """The content of a Lease."""

    holder: str
    #: Seconds for which others respect it after they saw it change.
    seconds: int
    #: How often it changed hands.
    transitions: int
    acquired: datetime | None
    renewed: datetime | None

    @classmethod
    def of(cls, lease: Any) -> "Record":
        spec = lease.spec
        return cls(
            holder=(spec and spec.holder_identity) or "",
            seconds=(spec and spec.lease_duration_seconds) or 0,
            transitions=(spec and spec.lease_transitions) or 0,
            acquired=spec and spec.acquire_time,
            renewed=spec and spec.renew_time,
        )


async def load_client() -> None:
    """Import the client without blocking the event loop."""
    loaded = Event()

    def load() -> None:
        try:
            importlib.import_module("kubernetes.aio.client")
        finally:
            loaded.set()

    # A daemon, so that a stop does not wait for it.
    threading.Thread(target=load, name="import of kubernetes", daemon=True).start()
    await loaded.wait()


def connection(settings: Kubernetes) -> "Configuration":
    """The client's configuration: as in a pod, or http to ``settings.api`` without a token.

    The token is read again every minute, because it is rotated. Raises ApiError without a
    service account, or outside of a pod.
    """
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config import ConfigException
    from kubernetes.aio.config.incluster_config import InClusterConfigLoader

    if settings.api.startswith("http:"):
        return Configuration(host=settings.api)
    if not settings.api and "KUBERNETES_SERVICE_HOST" not in os.environ:
        raise ApiError("not in Kubernetes: KUBERNETES_SERVICE_HOST is not set")
    token, ca = (Path(settings.credentials) / name for name in ("token", "ca.crt"))
    if not token.exists():
        raise ApiError(f"the pod has no service account token: {token} is missing")
    given = urlsplit(settings.api)
    address = {
        "KUBERNETES_SERVICE_HOST": given.hostname,
        "KUBERNETES_SERVICE_PORT": str(given.port or 443),
    }
    environment = address if settings.api else os.environ
    configuration = Configuration()
    try:
        loader = InClusterConfigLoader(str(token), str(ca), environ=environment)
        loader.load_and_set(configuration)
    except (ConfigException, OSError) as error:
        raise ApiError(f"the service account in {token.parent} cannot be used: {error}") from None
    return configuration


class LeaseApi:
    """One Lease. All methods raise ApiError; those that write also ConflictError.

    Every request except the watch ends within half of the renewal time, so that a leader
    gets a second attempt.
    """

    def __init__(self, settings: LeaderElection, kubernetes: Kubernetes) -> None:
        from aiohttp import ClientError
        from kubernetes.aio import client

        configuration = connection(kubernetes)
        self.name = settings.lease
        self.namespace = Identity.from_environment().namespace or "default"
        self._timeout = settings.renew_seconds / 2
        self._models = client.models
        self._client = client.ApiClient(configuration)
        self._leases = client.CoordinationV1Api(self._client)
        self._host = f"the API at {configuration.host}"
        self._failure = client.ApiException
        self._broken = (ClientError, OSError)
        #: As last read or written; the next write requires its version.
        self._lease: Any = None

    async def __aenter__(self) -> "LeaseApi":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def read(self) -> Record | None:
        """The current content; None if the Lease does not exist."""
        self._lease = None
        try:
            with self._asking("get"):
                self._lease = await self._leases.read_namespaced_lease(
                    self.name, self.namespace, _request_timeout=self._timeout
                )
                return Record.of(self._lease)
        except AbsentError:
            return None

    async def write(self, record: Record) -> int:
        """Write the Lease, unless it was changed since it was last read or written here.

        Returns its version, which grows with every write to the cluster: by contract
        since Kubernetes 1.35 (KEP-5504), before that as etcd's revision.
        """
        models = self._models
        spec = models.V1LeaseSpec(
            holder_identity=record.holder,
            lease_duration_seconds=record.seconds,
            lease_transitions=record.transitions,
            acquire_time=record.acquired,
            renew_time=record.renewed,
        )
        if self._lease is None:
            fresh = models.V1Lease(metadata=models.V1ObjectMeta(name=self.name), spec=spec)
            with self._asking("create"):
                self._lease = await self._leases.create_namespaced_lease(
                    self.namespace, fresh, _request_timeout=self._timeout
                )
        else:
            changed = self._lease.model_copy(update={"spec": spec})
            with self._asking("update"):
                self._lease = await self._leases.replace_namespaced_lease(
                    self.name, self.namespace, changed, _request_timeout=self._timeout
                )
        with self._asking("read the version of"):
            return int(self._lease.metadata.resource_version)

    async def changes(self) -> AsyncIterator[Record]:
        """Yield the current content and then each change, for some minutes."""
        with self._asking("watch"):
            async with asyncio.timeout(self._timeout):
                # Without a version, a watch starts with the current state: nothing is missed.
                response = await self._leases.list_namespaced_lease_without_preload_content(
                    self.namespace,
                    field_selector=f"metadata.name={self.name}",
                    watch=True,
                    timeout_seconds=WATCH,
                    _request_timeout=WATCH + self._timeout,
                )
            async with response:
                if response.status != 200:
                    raise self._failure(status=response.status)
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise self._failure(status=event["object"]["code"])
                    if event["type"] in ("ADDED", "MODIFIED"):
                        yield Record.of(self._models.V1Lease.from_dict(event["object"]))

    @contextlib.contextmanager
    def _asking(self, verb: str) -> Iterator[None]:
        """Turn errors into the exceptions of this module."""
        lease = f"Lease {self.name} in the namespace {self.namespace}"
        try:
            yield
        except self._failure as error:
            match verb, error.status:
                case (("create" | "update"), 409):
                    raise ConflictError from None
                case "get" | "update", 404:
                    raise (AbsentError if verb == "get" else ConflictError) from None
                case _, 403:
                    raise ApiError(f"the service account may not {verb} the {lease}") from None
                case _, 401:
                    raise ApiError(f"{self._host} does not accept the token") from None
            raise ApiError(f"{self._host} responds with {error.status} to {verb} {lease}") from None
        except TimeoutError:
            raise ApiError(f"{self._host} does not respond in time") from None
        except self._broken:
            raise ApiError(f"{self._host} cannot be reached") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ApiError(f"{self._host} responds with a malformed Lease: {error}") from None


def now() -> datetime:
    """The time for Kubernetes, which requires a fraction of a second."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond or 1)
