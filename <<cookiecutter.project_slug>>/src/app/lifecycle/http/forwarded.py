"""The client's address, scheme, host and path, from the headers of trusted proxies.

A proxy that terminates TLS or strips a path reports the original in ``X-Forwarded-*``
headers. Anybody can send those, so they are read only from peers with a trusted address,
and only the ones that the proxy is known to overwrite or append to.

- ``for``: hops are read from the right, where trusted proxies append. The client is the
  first hop that is not trusted, or the leftmost one if all are. An entry that is not an
  address (``unknown``, RFC 7239 identifiers) ends the search at the hop before it.
- ``proto``, ``host``, ``prefix``: the last value, which the peer itself has sent; a
  malformed one is ignored.

``Forwarded`` (RFC 7239), ``X-Forwarded-Port`` and ``X-Real-IP`` are not read: no common proxy
sends one of them alone, and a second source could contradict the first.
"""

import functools
import ipaddress
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from urllib.parse import unquote

from app.lifecycle.asgi import App, Receive, Scope, Send

#: Maximum number of hops of ``X-Forwarded-For`` that are read, from the right.
HOPS = 32
#: Size of the address cache, and the length of the longest address.
CACHED_ADDRESSES, MAX_ADDRESS = 4096, 45

_PLAIN, _TLS = ("http", "ws"), ("https", "wss")
_SCHEMES = {b"http": _PLAIN, b"ws": _PLAIN, b"https": _TLS, b"wss": _TLS}
_host = re.compile(rb"([a-zA-Z0-9_.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?").fullmatch
_prefix = re.compile(rb"(/[a-zA-Z0-9._~%@:!$&'()*+,;=-]+){1,32}").fullmatch


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy in front of the service; lifecycle/settings.py explains the fields."""

    trusted: tuple[str, ...] = ()
    headers: frozenset[str] = frozenset()
    root_path: str = ""


class Forwarded:
    """ASGI middleware that applies the headers ``proxy`` is trusted for to the scope, in place.

    Not a coroutine: a request pays for one call, and for the headers only if its peer is
    trusted. Peers without an address, as on a Unix socket, are never trusted.
    """

    def __init__(self, app: App, proxy: Proxy) -> None:
        self._app = app
        self._root = proxy.root_path
        self._networks = [ipaddress.ip_network(network) for network in proxy.trusted]
        self._names = frozenset(f"x-forwarded-{name}".encode() for name in proxy.headers)
        self._peer = functools.lru_cache(CACHED_ADDRESSES)(self._parse)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        client = scope.get("client")
        root = self._root
        if client is not None and (peer := self._peer(client[0])) is not None:
            address, trusted = peer
            if address != client[0]:
                scope["client"] = (address, client[1])
            if trusted:
                root = self._apply_headers(scope) or root
        if root and scope["type"] != "lifespan":
            _mount(scope, root)
        return self._app(scope, receive, send)

    def _parse(self, host: str) -> tuple[str, bool] | None:
        """The canonical address (IPv4 for IPv4-mapped) and whether it is trusted, if it is one."""
        if "%" in host:  # a zone may be any text, and would appear in logs
            return None
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        address = getattr(address, "ipv4_mapped", None) or address
        return str(address), any(address in network for network in self._networks)

    def _apply_headers(self, scope: Scope) -> str:
        """Apply the headers of a trusted peer; return the prefix that it has stripped."""
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
        """The nearest hop that is not trusted; None if the nearest one is not an address."""
        nearest = None
        for hop in reversed(hops.rsplit(",", HOPS)[-HOPS:]):
            if not (hop := hop.strip()):
                continue
            host, port = _split(hop)
            # Text that is too long to be an address stays out of the cache.
            peer = self._peer(host) if len(host) <= MAX_ADDRESS else None
            if peer is None:
                break
            nearest = (peer[0], port)
            if not peer[1]:
                break
        return nearest


def _split(hop: str) -> tuple[str, int]:
    """Host and port (0 if none) of ``1.2.3.4:5``, ``[2001:db8::1]:5`` or ``2001:db8::1``."""
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
    """The last of several values separated by commas: the one from the peer itself."""
    return values.rpartition(b",")[2].strip()


def _mount(scope: Scope, root: str) -> None:
    """Set ``root`` as the root path, and put it before a path from which it was stripped."""
    path = scope["path"]
    if not (path.startswith(root) and path[len(root) :][:1] in ("", "/")):
        scope["path"] = root + path
        if scope.get("raw_path") is not None:
            scope["raw_path"] = root.encode() + scope["raw_path"]
    scope["root_path"] = root
