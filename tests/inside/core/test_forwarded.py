"""Who the client is and how it came, behind real proxies, and when somebody lies about it."""

import asyncio
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from app.lifecycle.http.forwarded import HOPS, Forwarded, Proxy
from tests.conftest import Start
from tests.harness import HOST, Service
from tests.proxies import PROXY, SECOND, in_front, missing, trusting

ALL = frozenset({"for", "proto", "host", "prefix"})
FORGED = {
    "x-forwarded-for": "6.6.6.6",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.example",
    "x-forwarded-prefix": "/evil",
    "forwarded": "for=6.6.6.6;host=evil.example;proto=https",
    "x-real-ip": "6.6.6.6",
}

# -- the rule -------------------------------------------------------------------------------


def seen(
    *headers: tuple[str, str],
    peer: str | None = "10.0.0.1",
    kind: str = "http",
    path: str = "/hello",
    **proxy: Any,
) -> dict[str, Any]:
    """The scope that the application gets."""
    found: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.update(scope)

    scope = {
        "type": kind,
        "client": peer and (peer, 1234),
        "scheme": "ws" if kind == "websocket" else "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "headers": [(b"host", b"inside")] + [(n.encode(), v.encode("latin-1")) for n, v in headers],
    }
    told = Forwarded(app, Proxy(**{"trusted": ("10.0.0.0/8", "fd00::/8"), "headers": ALL, **proxy}))

    async def ask() -> None:
        await told(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(ask())
    return found


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        (["1.2.3.4"], ("1.2.3.4", 0)),
        (["6.6.6.6, 1.2.3.4"], ("1.2.3.4", 0)),
        (["6.6.6.6, 1.2.3.4, 10.9.9.9"], ("1.2.3.4", 0)),
        (["6.6.6.6", "1.2.3.4", "10.9.9.9"], ("1.2.3.4", 0)),
        (["10.1.1.1, 10.9.9.9"], ("10.1.1.1", 0)),
        (["1.2.3.4:5678"], ("1.2.3.4", 5678)),
        (["1.2.3.4:port"], ("1.2.3.4", 0)),
        (["1.2.3.4:99999"], ("1.2.3.4", 0)),
        (["2001:db8::1"], ("2001:db8::1", 0)),
        (["[2001:DB8::1]:443"], ("2001:db8::1", 443)),
        (["[2001:db8:0::1]"], ("2001:db8::1", 0)),
        (["::ffff:1.2.3.4"], ("1.2.3.4", 0)),
        (["6.6.6.6, ::ffff:10.2.2.2"], ("6.6.6.6", 0)),
        (["6.6.6.6, unknown, 10.9.9.9"], ("10.9.9.9", 0)),
        (["6.6.6.6, [::1, 10.9.9.9"], ("10.9.9.9", 0)),
        ([" , 1.2.3.4 ,, "], ("1.2.3.4", 0)),
        (["unknown"], ("10.0.0.1", 1234)),
        (["_hidden"], ("10.0.0.1", 1234)),
        (["fe80::1%\x1b[31m"], ("10.0.0.1", 1234)),
        ([""], ("10.0.0.1", 1234)),
        ([", ".join(["6.6.6.6"] + ["10.9.9.9"] * HOPS)], ("10.9.9.9", 0)),
    ],
)
def test_the_client_is_the_nearest_hop_that_is_not_trusted(
    hops: list[str], client: tuple[str, int]
) -> None:
    assert seen(*[("x-forwarded-for", hop) for hop in hops])["client"] == client


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        ("10.255.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("fd00::1", True),
        ("11.0.0.1", False),
        ("::ffff:11.0.0.1", False),
        ("::1", False),
        ("unix:", False),
        (None, False),
    ],
)
def test_only_trusted_peers_are_believed(peer: str | None, believed: bool) -> None:
    scope = seen(*FORGED.items(), peer=peer)
    assert (scope["scheme"] == "https") is believed
    assert (scope["root_path"] == "/evil") is believed
    assert ((b"host", b"evil.example") in scope["headers"]) is believed
    plain = peer and peer.removeprefix("::ffff:")
    assert scope["client"] == (("6.6.6.6", 0) if believed else plain and (plain, 1234))


@pytest.mark.parametrize("headers", [{"for"}, {"proto"}, {"host"}, {"prefix"}, set()])
def test_only_headers_that_the_proxy_sets_are_read(headers: set[str]) -> None:
    scope = seen(*FORGED.items(), headers=frozenset(headers))
    assert (scope["client"][0] == "6.6.6.6") is ("for" in headers)
    assert (scope["scheme"] == "https") is ("proto" in headers)
    assert ((b"host", b"evil.example") in scope["headers"]) is ("host" in headers)
    assert (scope["root_path"] == "/evil") is ("prefix" in headers)


@pytest.mark.parametrize(
    ("said", "scheme", "of_websocket"),
    [
        ("https", "https", "wss"),
        ("HTTPS", "https", "wss"),
        ("wss", "https", "wss"),
        ("http, https", "https", "wss"),
        ("https, http", "http", "ws"),
        ("gopher", "http", "ws"),
        ("", "http", "ws"),
    ],
)
def test_the_protocol_is_what_the_proxy_says_last(
    said: str, scheme: str, of_websocket: str
) -> None:
    assert seen(("x-forwarded-proto", said))["scheme"] == scheme
    assert seen(("x-forwarded-proto", said), kind="websocket")["scheme"] == of_websocket


@pytest.mark.parametrize(
    ("said", "host"),
    [
        ("shop.example", "shop.example"),
        ("shop.example:8443", "shop.example:8443"),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ("evil.example, shop.example", "shop.example"),
        ("shop.example/evil", "inside"),
        ("user@shop.example", "inside"),
        ("shop.example\r\nx: y", "inside"),
        ("shop.example:8443:1", "inside"),
        ("shop example", "inside"),
        ("", "inside"),
    ],
)
def test_a_host_that_is_none_is_not_taken(said: str, host: str) -> None:
    found = seen(("x-forwarded-host", said))["headers"]
    assert [value for name, value in found if name == b"host"] == [host.encode()]


@pytest.mark.parametrize(
    ("path", "root", "prefix", "whole", "under"),
    [
        ("/hello", "/api", None, "/api/hello", "/api"),
        ("/api/hello", "/api", None, "/api/hello", "/api"),
        ("/api", "/api", None, "/api", "/api"),
        ("/apish", "/api", None, "/api/apish", "/api"),
        ("/hello", "/api", "/shop/v1/", "/shop/v1/hello", "/shop/v1"),
        ("/hello", "", "/shop", "/shop/hello", "/shop"),
        ("/hello", "", "/a%20b", "/a b/hello", "/a b"),
        ("/hello", "", "//evil.example", "/hello", ""),
        ("/hello", "", "https://evil.example", "/hello", ""),
        ("/hello", "", "/", "/hello", ""),
        ("/hello", "/api", "<script>", "/api/hello", "/api"),
    ],
)
def test_the_path_begins_with_what_the_proxy_has_stripped(
    path: str, root: str, prefix: str | None, whole: str, under: str
) -> None:
    headers = [] if prefix is None else [("x-forwarded-prefix", prefix)]
    scope = seen(*headers, path=path, root_path=root)
    assert (scope["path"], scope["root_path"]) == (whole, under)


# -- real proxies ---------------------------------------------------------------------------

proxied = pytest.mark.parametrize(
    "program",
    [
        pytest.param(name, marks=pytest.mark.skipif(bool(missing(name)), reason=missing(name)))
        for name in ("nginx", "haproxy")
    ],
)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    return trusting(tmp_path)


def behind(serve: Start, **settings: str) -> Service:
    """A service that listens as in a pod and trusts the proxies of these tests."""
    known = {
        "APP_PROXY__TRUSTED": f"{PROXY},{SECOND}/32",
        "APP_PROXY__HEADERS": "for,proto,host",
        "APP_HOST": "::",
    }
    return serve("tests.apps.seen", **{**known, **settings})


def ask(
    port: int, path: str, tls: ssl.SSLContext | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, Any]:
    connection = (
        http.client.HTTPSConnection(HOST, port, timeout=60, context=tls)
        if tls is not None
        else http.client.HTTPConnection(HOST, port, timeout=60)
    )
    given = {"Host": "shop.example", **headers}
    connection.request("GET", path, headers=given)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers, json.loads(body) if body else None


@proxied
def test_urls_and_client_are_those_in_front_of_the_proxy(
    serve: Start, tmp_path: Path, tls: ssl.SSLContext, program: str
) -> None:
    service = behind(serve)
    with in_front(program, service.port, tmp_path) as port:
        status, _, answer = ask(port, "/seen?a=b", tls)
        assert status == 200
        assert answer["client"][0] == HOST, "as IPv4, although the service listens on ::"
        assert answer["url"] == "https://shop.example/seen?a=b"
        assert answer["items"] == "https://shop.example/items/"
        status, headers, _ = ask(port, "/items", tls)
        assert (status, headers["location"]) == (307, "https://shop.example/items/")
        with connect(f"wss://{HOST}:{port}/socket", ssl=tls) as websocket:
            url, client = str(websocket.recv(timeout=60)).split()
        assert (url, client) == (f"wss://{HOST}:{port}/socket", HOST)


@proxied
def test_what_a_client_forges_does_not_pass_the_proxy(
    serve: Start, tmp_path: Path, tls: ssl.SSLContext, program: str
) -> None:
    service = behind(serve)
    with in_front(program, service.port, tmp_path) as port:
        forged = {**FORGED, "x-forwarded-proto": "http"}
        _, _, answer = ask(port, "/seen", tls, **forged)
        assert answer["client"][0] == HOST
        assert answer["url"] == "https://shop.example/seen"


@proxied
def test_a_header_that_the_proxy_passes_on_is_not_read(
    serve: Start, tmp_path: Path, program: str
) -> None:
    service = behind(serve, APP_PROXY__HEADERS="for")
    with in_front(program, service.port, tmp_path, tls=False) as port:
        _, _, answer = ask(port, "/seen", None, **FORGED)
        assert answer["client"][0] == HOST
        assert answer["url"] == "http://internal/seen"


def test_what_is_forged_past_the_proxy_changes_nothing(serve: Start) -> None:
    service = behind(serve, APP_PROXY__HEADERS="for,proto,host,prefix")
    _, _, plain = ask(service.port, "/seen")
    _, _, forged = ask(service.port, "/seen", None, **FORGED)
    assert plain["url"] == forged["url"] == "http://shop.example/seen"
    assert plain["client"][0] == forged["client"][0] == HOST


def test_by_default_nobody_is_trusted(serve: Start) -> None:
    service = serve("tests.apps.seen")
    _, _, forged = ask(service.port, "/seen", None, **FORGED)
    assert forged["client"][0] == HOST
    assert forged["url"] == "http://shop.example/seen"


@proxied
def test_two_proxies_one_behind_the_other(
    serve: Start, tmp_path: Path, tls: ssl.SSLContext, program: str
) -> None:
    service = behind(serve)
    with (
        in_front(program, service.port, tmp_path, tls=False, source=SECOND) as inner,
        in_front(program, inner, tmp_path) as outer,
    ):
        _, _, answer = ask(outer, "/seen", tls, **{"x-forwarded-for": "6.6.6.6"})
        assert answer["client"][0] == HOST
        assert answer["url"] == "https://shop.example/seen", "the inner one passes them on"


@proxied
@pytest.mark.parametrize("stripped", ["/", "/api/"])
def test_a_path_prefix_is_part_of_all_addresses(
    serve: Start, tmp_path: Path, tls: ssl.SSLContext, program: str, stripped: str
) -> None:
    service = behind(serve, APP_PROXY__ROOT_PATH="/api", POD_NAME="web-1")
    with in_front(program, service.port, tmp_path, path="/api/", stripped=stripped) as port:
        _, _, answer = ask(port, "/api/seen", tls)
        assert answer["url"] == "https://shop.example/api/seen"
        assert answer["items"] == "https://shop.example/api/items/"
        _, headers, _ = ask(port, "/api/items", tls)
        assert headers["location"] == "https://shop.example/api/items/"
        _, _, document = ask(port, "/api/openapi.json", tls)
        assert document["servers"] == [{"url": "/api"}]
    assert b"/api/openapi.json" in service.get("/docs").body
    assert service.get("/readyz").headers["x-pod-name"] == "web-1", "the question who answers"
    assert service.get("/items/").status == 200, "without the prefix, from inside"
