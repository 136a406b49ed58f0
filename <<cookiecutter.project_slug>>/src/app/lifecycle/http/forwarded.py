"""Who the client is, and how it reached the service, when a proxy is in front.

A proxy that terminates TLS or strips a path tells what the client did in ``X-Forwarded-*``
headers. Anybody can send such headers, so they are read only from a peer whose address is
trusted, and of those only the ones that this proxy is known to overwrite or append to.

- ``for``: hops are read from the right, the side that trusted proxies append to. The client
  is the first one that is not trusted itself, or the leftmost one if all are. An entry that
  is no address (``unknown``, RFC 7239 identifiers) ends the search at the hop before it.
- ``proto``, ``host``, ``prefix``: the last value, which the peer itself has sent; one that
  is not well-formed is ignored.

``Forwarded`` (RFC 7239), ``X-Forwarded-Port`` and ``X-Real-IP`` are not read: no proxy that is
common in front of pods sends one of them alone, and a second source could contradict the first.
"""

import functools
import ipaddress
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from urllib.parse import unquote

from app.lifecycle.asgi import App, Receive, Scope, Send

#: Most hops of ``X-Forwarded-For`` that are looked at, from the right.
HOPS = 32
#: Most addresses that are remembered, and the length of the longest.
PEERS, LONGEST = 4096, 45

_SCHEMES = {
    b"http": ("http", "ws"),
    b"https": ("https", "wss"),
    b"ws": ("http", "ws"),
    b"wss": ("https", "wss"),
}
_host = re.compile(rb"([a-zA-Z0-9_.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?").fullmatch
_prefix = re.compile(rb"(/[a-zA-Z0-9._~%@:!$&'()*+,;=-]+){1,32}").fullmatch


@dataclass(frozen=True, slots=True)
class Proxy:
    """What is in front of the service; the settings say what each field means."""

    trusted: tuple[str, ...] = ()
    headers: frozenset[str] = frozenset()
    root_path: str = ""


class Forwarded:
    """Tells ``app`` of the client what ``proxy`` is trusted to say; changes the scope in place.

    It is not a coroutine: a request pays for a call, and for the headers only where its peer
    is trusted. Peers without an address, as on a Unix socket, are never trusted.
    """

    def __init__(self, app: App, proxy: Proxy) -> None:
        self._app = app
        self._root = proxy.root_path
        self._networks = [ipaddress.ip_network(network) for network in proxy.trusted]
        self._names = frozenset(f"x-forwarded-{name}".encode() for name in proxy.headers)
        self._peer = functools.lru_cache(PEERS)(self._look_up)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        client = scope.get("client")
        root = self._root
        if client is not None and (peer := self._peer(client[0])) is not None:
            plain, trusted = peer
            if plain != client[0]:
                scope["client"] = (plain, client[1])
            if trusted:
                root = self._take_over(scope) or root
        if root and scope["type"] != "lifespan":
            _mount(scope, root)
        return self._app(scope, receive, send)

    def _look_up(self, host: str) -> tuple[str, bool] | None:
        """The address as it is usually written, and whether it is trusted; None if it is none.

        IPv4 that came in on ``::`` is IPv4 again.
        """
        if "%" in host:  # a zone may be any text, and would end up in logs
            return None
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        plain = getattr(address, "ipv4_mapped", None) or address
        return str(plain), any(plain in network for network in self._networks)

    def _take_over(self, scope: Scope) -> str:
        """Go by the headers of a trusted peer; return the prefix that it has stripped."""
        names, root = self._names, ""
        hops: list[bytes] = []
        scheme = host = prefix = b""
        for name, value in scope["headers"]:
            if name not in names:
                continue
            match name:
                case b"x-forwarded-for":
                    hops.append(value)
                case b"x-forwarded-proto":
                    scheme = value
                case b"x-forwarded-host":
                    host = value
                case _:
                    prefix = value
        if hops and (client := self._client(b",".join(hops).decode("latin-1"))) is not None:
            scope["client"] = client
        if scheme and (schemes := _SCHEMES.get(_last(scheme).lower())) is not None:
            scope["scheme"] = schemes[scope["type"] == "websocket"]
        if host and _host(host := _last(host)):
            others = [header for header in scope["headers"] if header[0] != b"host"]
            scope["headers"] = [(b"host", host), *others]
        if prefix and _prefix(prefix := _last(prefix).rstrip(b"/")):
            root = unquote(prefix.decode("ascii"))
        return root

    def _client(self, hops: str) -> tuple[str, int] | None:
        """The nearest hop that is not trusted; None if no hop is an address."""
        nearest = None
        for hop in reversed(hops.rsplit(",", HOPS)[-HOPS:]):
            if not (hop := hop.strip()):
                continue
            host, port = _split(hop)
            # What is longer is no address, and not worth remembering.
            known = self._peer(host) if len(host) <= LONGEST else None
            if known is None:
                break
            plain, trusted = known
            nearest = (plain, port)
            if not trusted:
                break
        return nearest


def _split(hop: str) -> tuple[str, int]:
    """Host and port, 0 where there is none: ``1.2.3.4:5``, ``[2001:db8::1]:5``, ``2001:db8::1``."""
    if ":" not in hop:
        return hop, 0
    if hop[0] == "[" and "]" in hop:
        host, _, port = hop[1:].partition("]")
        port = port.removeprefix(":")
    elif hop.count(":") == 1:
        host, _, port = hop.partition(":")
    else:
        return hop, 0
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    return host, number if number <= 65535 else 0


def _last(values: bytes) -> bytes:
    """The last of values that are separated by commas: what the peer itself has written."""
    return values.rpartition(b",")[2].strip()


def _mount(scope: Scope, root: str) -> None:
    """Say that the application is reached under ``root``, which the path begins with in ASGI.

    A proxy may have stripped it or not.
    """
    path = scope["path"]
    if not (path.startswith(root) and path[len(root) :][:1] in ("", "/")):
        scope["path"] = root + path
        if scope.get("raw_path") is not None:
            scope["raw_path"] = root.encode() + scope["raw_path"]
    scope["root_path"] = root
