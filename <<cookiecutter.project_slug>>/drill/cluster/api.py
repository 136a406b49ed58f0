"""The Kubernetes API as JSON, with the connection and the kube context of package `kubernetes`.

Its models are not used: the drill reads and writes manifests.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientError, ClientTimeout
from kubernetes.aio import client, config

from drill.chart import Manifest
from drill.errors import DrillError

JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

CALL_SECONDS = 30.0
CONNECT_SECONDS = 10.0
#: How long the API server may be unreachable, for example while it restarts.
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5


class ApiError(DrillError):
    """A call failed. ``status`` is the HTTP status, 0 if there was no answer."""

    def __init__(self, status: int, text: str, after: float = RETRY_SECONDS) -> None:
        super().__init__(text)
        self.status = status
        #: Seconds to wait before a retry.
        self.after = after

    @property
    def passing(self) -> bool:
        """Return whether the same call may succeed later."""
        return self.status in (0, 429) or self.status >= 500


class Api:
    """The API server of a kube context."""

    def __init__(self, connection: Any, context: str) -> None:
        self.context = context
        self._client = connection

    async def close(self) -> None:
        await self._client.close()

    async def get(self, path: str, **query: str) -> Manifest:
        """GET; retries for ``PATIENCE_SECONDS`` while the server is unreachable or busy."""
        return await self.repeat("GET", path, query=query)

    async def repeat(self, method: str, path: str, **options: Any) -> Manifest:
        """Make an idempotent call; retries until the server has answered."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                return await self.call(method, path, **options)
            except ApiError as error:
                if not error.passing or asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(error.after)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content: str = JSON,
    ) -> Manifest:
        """Make one call. Raises ApiError with the server's message."""
        timeout = ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)
        async with self._response(method, path, query, body, content, timeout) as response:
            answer = await response.read()
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise ApiError(0, f"{path} did not answer with JSON: {answer[:80]!r}.") from error
        return dict(found)

    async def status(self, path: str, seconds: float) -> int:
        """Return the status of a GET."""
        try:
            async with self._response("GET", path, None, None, JSON, ClientTimeout(seconds)):
                return 200
        except ApiError as error:
            if error.status == 0:
                raise
            return error.status

    async def lines(
        self, path: str, query: Mapping[str, str], silence: float | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield a response line by line as it arrives, until the server ends it.

        Raises ApiError also if the response breaks off or is silent for ``silence``
        seconds; an incomplete line is dropped then.
        """
        timeout = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        async with self._response("GET", path, query, None, JSON, timeout) as response:
            rest = b""
            async for part in response.content.iter_any():
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line
            if rest:
                yield rest

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Manifest | None,
        content: str,
        timeout: ClientTimeout,
    ) -> AsyncIterator[Any]:
        # The query is part of the path: the client's own quoting supports single values only.
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            request = await self._client.param_serialize(
                method,
                target,
                header_params={"Accept": "*/*", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(*request, _request_timeout=timeout)
            try:
                if answer.status >= 400:
                    raise await refusal(answer.response)
                yield answer.response
            finally:
                answer.response.close()
        except (ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ApiError(
                0,
                f"the API server of {self.context} cannot be reached ({reason}): "
                f"try `kubectl --context {self.context} cluster-info`.",
            ) from error


async def refusal(response: Any) -> ApiError:
    """Return the API server's error for a status of 400 or above."""
    text = (await response.read()).decode("utf-8", "replace")
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.strip()[:200] or str(response.reason)
    remedy = {
        401: ": log in to the cluster again",
        403: ": use a context with this permission, or have it granted",
    }.get(response.status, "")
    after = response.headers.get("Retry-After", "")
    return ApiError(
        response.status,
        f"the API server answered {response.status}, {message.rstrip('.')}{remedy}.",
        float(after) if after.isdigit() else RETRY_SECONDS,
    )


def current_context(kubeconfig: str) -> str:
    """Return the current context. Raises DrillError. ``kubeconfig`` is as in KUBECONFIG."""
    if not any(Path(path).expanduser().exists() for path in kubeconfig.split(os.pathsep) if path):
        raise DrillError(f"no kubeconfig found at {kubeconfig}: set KUBECONFIG.")
    try:
        _, current = config.list_kube_config_contexts(kubeconfig)
        return str(current["name"])
    except Exception as error:  # TypeError, ConfigException, YAMLError
        why = " ".join(str(error).split())  # YAML errors have several lines
        raise DrillError(
            f"{kubeconfig} has no current context ({why}): `kubectl config use-context NAME`."
        ) from error


async def connect(context: str, kubeconfig: str) -> Api:
    """Connect to the API server. Raises DrillError for an unusable kubeconfig."""
    configuration = client.Configuration()
    try:
        await config.load_kube_config(
            kubeconfig, context, client_configuration=configuration, persist_config=False
        )
        configuration.connection_pool_maxsize = 0  # no limit: each watch needs one
        # Python 3.13 rejects certificates without an authority key identifier; kubectl does not.
        configuration.disable_strict_ssl_verification = True
        return Api(client.ApiClient(configuration), context)
    except Exception as error:  # a login plugin may raise anything
        raise DrillError(
            f"context {context} cannot be used ({error}): "
            f"check that `kubectl --context {context} get pods` works."
        ) from error
