"""What every service registry offers, and how it is called over HTTP."""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import SecretStr

from app.lifecycle.kubernetes.identity import Identity
from app.lifecycle.settings import listed
from app.registry.settings import Registry

if TYPE_CHECKING:
    import httpx2

#: Largest response that is read, in bytes.
LARGEST = 4 * 1024 * 1024
#: Longest part of an error's text that is logged, in characters.
LONGEST = 120


class RegistryError(Exception):
    """A call failed; the message says why.

    ``applied`` says whether the registry may have done what it was asked for.
    """

    def __init__(self, message: str, *, applied: bool = False) -> None:
        super().__init__(message)
        self.applied = applied


class RefusedError(RegistryError):
    """The registry does not accept the credentials."""


class UnknownEntryError(RegistryError):
    """The registry does not know the entry: it must be registered again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the registry tells clients of this pod."""

    service: str
    #: Unique in the registry.
    id: str
    address: str
    port: int
    #: URL of the readiness probe.
    health: str
    tags: tuple[str, ...] = ()
    #: Version, zone, pod and the like; only what is known.
    meta: Mapping[str, str] | None = None

    def facts(self) -> dict[str, str]:
        return {**(self.meta or {}), "health": self.health}


def entry_of(
    settings: Registry,
    port: int,
    health_port: int,
    version: str,
#% if cookiecutter.tls == "yes"
    *,
    secure: bool = False,
#% endif
) -> Entry:
#% if cookiecutter.tls == "yes"
    """The entry of this pod; ``secure``: ``port`` speaks TLS.

    Raises RegistryError if its address is not known.
    """
#% else
    """The entry of this pod. Raises RegistryError if its address is not known."""
#% endif
    identity = Identity.from_environment()
    address = settings.address or next(iter(identity.addresses), "")
    if not address:
        raise RegistryError("the address of this pod is not known: set APP_REGISTRY__ADDRESS")
    host = f"[{address}]" if ":" in address else address
    health = f"http://{host}:{health_port}/readyz"
    facts = {**identity.fields(), "version": version}
#% if cookiecutter.tls == "yes"
    if secure:
        # By this name clients of Spring Cloud learn that they must use https.
        facts["secure"] = "true"
        if health_port == port:
            health = health.replace("http:", "https:")
#% endif
    return Entry(
        service=settings.service,
        id=identity.pod or f"{settings.service}-{address.replace(':', '-')}-{port}",
        address=address,
        port=port,
        health=health,
        tags=tuple(listed(settings.tags)),
        meta=facts,
    )


#: What readers see: the entry, or not although the registry knows it, or an unknown one.
Seen = Literal["listed", "not listed", "unknown"]


class Client(Protocol):
    """A registry. All methods raise RegistryError within the timeout of the settings."""

    async def register(self, entry: Entry, *, well: bool, note: str) -> None:
        """List ``entry``, or if it is not ``well`` keep it out of what readers get.

        ``note`` says why. Calling it again with another state changes the entry.
        """
        ...

    async def beat(self, entry: Entry, *, well: bool, note: str) -> None:
        """Keep the entry as it was registered. Raises UnknownEntryError."""
        ...

    async def deregister(self, entry: Entry) -> None:
        """Remove the entry; one that does not exist counts as removed."""
        ...

    async def read(self, entry: Entry) -> Seen:
        """Return what readers see of the entry."""
        ...


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    text: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body. Raises RegistryError for anything but a JSON object."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            if not self.ok:
                raise self.error()
            raise RegistryError("the registry responds with something else than JSON", applied=True)
        return found

    def error(self) -> RegistryError:
        """The error for a response that a caller has no other use for."""
        text = " ".join(self.text.split())[:LONGEST]
        return RegistryError(
            f"the registry responds with {self.status}: {text}", applied=self.status >= 500
        )


def secret(value: SecretStr, file: str) -> str:
    """The content of ``file``, which may have been rotated; without one, ``value``."""
    if not file:
        return value.get_secret_value()
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise RegistryError(f"{file} cannot be read: {_reason(error)}") from None


class Http:
    """Calls the registry; each call has a connection of its own and a total timeout.

    ``headers`` returns the headers with the credentials.
    """

    def __init__(self, settings: Registry, headers: Callable[[], Mapping[str, str]]) -> None:
        import httpx2  # 75 ms, so only where a registry is used

        self._url = settings.url.rstrip("/")
        self._ca_file = settings.ca_file
        self._timeout = settings.timeout_seconds
        self._headers = headers
        self._httpx = httpx2
        #: What the file with the CA was when the client was made.
        self._ca: tuple[int, int] | None = None
        self._client = self._new_client()

    async def __aenter__(self) -> "Http":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    def _new_client(self) -> "httpx2.AsyncClient":
        verify: ssl.SSLContext | bool = self._url.startswith("https:")
        if verify and self._ca_file:
            try:
                self._ca = _version(self._ca_file)
                verify = ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:  # ssl.SSLError is one
                why = f"{self._ca_file} is not a CA: {_reason(error)}"
                raise RegistryError(why) from None
        return self._httpx.AsyncClient(
            verify=verify,
            timeout=None,
            trust_env=False,
            # A connection that the registry closes meanwhile would fail a call for nothing.
            limits=self._httpx.Limits(max_keepalive_connections=0),
        )

    def _current(self) -> "httpx2.AsyncClient":
        """The client, a new one if the file with the CA was replaced; no connection is kept."""
        if self._ca is not None and self._ca != _version(self._ca_file):
            self._client = self._new_client()
        return self._client

    async def call(self, method: str, path: str, **content: Any) -> Response:
        """Return the response, whatever its status; raise RefusedError for 401 and 403.

        ``content`` is ``json``, ``data`` or ``params``, as for httpx2.
        """
        where = f"the registry at {self._url}"
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._timeout):
                async with self._current().stream(
                    method, self._url + path, headers=dict(self._headers()), **content
                ) as response:
                    async for chunk in response.aiter_bytes():
                        chunks.append(chunk)
                        if sum(map(len, chunks)) > LARGEST:
                            raise RegistryError(f"{where} sends too much", applied=True)
        except TimeoutError:
            why = f"{where} does not respond within {self._timeout:g} s"
            raise RegistryError(why, applied=True) from None
        except (self._httpx.ConnectError, OSError) as error:
            raise RegistryError(f"{where} cannot be reached: {_reason(error)}") from None
        except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            raise RegistryError(f"{where} fails: {_reason(error)}", applied=True) from None
        if response.status_code in (401, 403):
            raise RefusedError(
                f"{where} does not accept the credentials: status {response.status_code}"
            )
        return Response(response.status_code, b"".join(chunks).decode("utf-8", "replace"))


def _version(file: str) -> tuple[int, int]:
    found = Path(file).stat()
    return found.st_ino, found.st_mtime_ns


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
