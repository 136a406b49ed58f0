"""Questions to a real API server: what is asked, and what comes of each kind of answer."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.lifecycle.kubernetes import api as kube_api
from app.lifecycle.kubernetes.api import ApiError, explain
from app.lifecycle.kubernetes.identity import Cluster
from tests.authority import HAS_OPENSSL, certificate
from tests.harness import HOST
from tests.kube import KubeApi, endpoint, endpoint_slice, serving
from tests.service_address import Drip, listening

Error = (ApiError, OSError, http.client.HTTPException, ValueError, RecursionError)


Client = Callable[..., kube_api.KubeApi]


@pytest.fixture
def client() -> Iterator[Client]:
    """Who asks: ``client(api.url, credentials)``; closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(url: str, credentials: Path | str = "/nowhere") -> kube_api.KubeApi:
            cluster = Cluster((), url, str(credentials))
            one = kube_api.KubeApi(cluster, "" if not url else "prod", ["web", "admin"])
            return stack.enter_context(contextlib.closing(one))

        yield make


@pytest.fixture
def api() -> Iterator[KubeApi]:
    with serving() as api:
        yield api


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "PATIENCE", 0.3)
    monkeypatch.setattr(kube_api, "STREAM", 1)


def names(slices: Any) -> list[str]:
    return [one["metadata"]["name"] for one in slices]


def test_it_lists_page_by_page(client: Client, api: KubeApi) -> None:
    for number in range(12):
        api.put(endpoint_slice(name=f"web-{number:02}"))
    api.put(endpoint_slice(service="other"))
    asked = client(api.url)
    assert names(asked.slices()) == [f"web-{number:02}" for number in range(12)]
    assert [query.get("continue") for _, query in api.asked] == [None, "5", "10"]
    assert api.asked[0][1]["labelSelector"] == "kubernetes.io/service-name in (web,admin)"
    assert asked.version == "113"


def test_it_watches_from_the_list_on(client: Client, api: KubeApi, quick: None) -> None:
    api.put(endpoint_slice())
    asked = client(api.url)
    list(asked.slices())
    api.put(endpoint_slice(endpoint("web-1")))
    api.put(endpoint_slice(service="other"))
    api.delete("web-abcde")
    events = [(kind, names([one])) for kind, one in asked.changes()]
    assert events == [("MODIFIED", ["web-abcde"]), ("DELETED", ["web-abcde"])]
    _, query = api.asked[-1]
    assert (query["resourceVersion"], query["allowWatchBookmarks"]) == ("101", "true")
    api.put(endpoint_slice(name="next"))
    assert [kind for kind, _ in asked.changes()] == ["ADDED"], "from the last event on"


def test_bookmarks_move_it_forward(client: Client, api: KubeApi, quick: None) -> None:
    api.bookmarks = 0.05
    asked = client(api.url)
    list(asked.slices())
    api.put(endpoint_slice(service="other"))
    assert {kind for kind, _ in asked.changes()} == {"BOOKMARK"}
    assert asked.version == "101"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", "does not accept the token (401)"),
        ("403", "no permission to list and watch endpointslices (403)"),
        ("404", "no endpointslices (404)"),
        ("410", "no longer has"),
        ("429", "429 Too Many Requests"),
        ("500", "500 Internal Server Error"),
        ("302", "302 Found"),
        ("silent", "does not respond"),
        ("drip-status", "does not respond"),
        ("drip-headers", "does not respond"),
        ("drip-body", "does not respond"),
        ("drip-chunks", "does not respond"),
        ("dead", "broke off"),
        ("garbage", "is malformed"),
        ("other-kind", "not an EndpointSliceList"),
        ("deep", "is malformed"),
        ("huge", "larger than"),
    ],
)
def test_a_list_that_fails(
    client: Client, api: KubeApi, quick: None, fault: str, words: str
) -> None:
    api.fault = fault
    began = time.monotonic()
    with pytest.raises(Error) as failed:
        list(client(api.url).slices())
    assert words in explain(failed.value)
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("fault", "words", "status", "under_way"),
    [
        ("403", "no permission", 403, False),
        ("gone", "no longer has", 410, False),
        ("gone-event", "no longer has", 410, False),
        ("gone-event", "no longer has", 410, True),
        ("cut", "broke off", 0, False),
        ("cut", "broke off", 0, True),
        ("garbage", "is malformed", 0, False),
        ("garbage", "is malformed", 0, True),
        ("dead", "broke off", 0, False),
        ("dead", "broke off", 0, True),
        ("drip-headers", "does not respond", 0, False),
        ("drip-chunks", "does not respond", 0, False),
        ("drip-chunks", "does not respond", 0, True),
        ("silent", "does not respond", 0, False),
        ("silent", "does not respond", 0, True),
    ],
)
def test_a_watch_that_fails(
    client: Client,
    api: KubeApi,
    quick: None,
    fault: str,
    words: str,
    status: int,
    under_way: bool,
) -> None:
    asked = client(api.url)
    list(asked.slices())
    began = time.monotonic()
    if under_way:
        api.put(endpoint_slice())
    else:
        api.fail(fault)
    with pytest.raises(Error) as failed:
        for _ in asked.changes():
            api.fail(fault)
    assert words in explain(failed.value)
    assert getattr(failed.value, "status", 0) == status
    assert time.monotonic() - began < 15


def test_a_server_that_takes_no_connections(client: Client, quick: None) -> None:
    """Its backlog is full: the kernel drops what comes, as a network policy would."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind((HOST, 0))
        full.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(TimeoutError) as failed:
            list(client(f"http://{HOST}:{full.getsockname()[1]}").slices())
    assert explain(failed.value) == "the API does not respond"


@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not there to make a certificate")
def test_a_handshake_that_drips(client: Client, tmp_path: Path, quick: None) -> None:
    certificate(tmp_path, "IP:127.0.0.1")
    (tmp_path / "token").write_text("t")
    with listening(Drip, drops=b"\x16\x03\x03\x40\x00\x02" + bytes(300)) as port:
        began = time.monotonic()
        with pytest.raises(TimeoutError) as failed:
            list(client(f"https://{HOST}:{port}", tmp_path).slices())
    assert explain(failed.value) == "the API does not respond"
    assert time.monotonic() - began < 15


def test_a_name_lookup_that_hangs(
    client: Client, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``getaddrinfo`` knows no timeout."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        list(client("http://api.example").slices())
    assert time.monotonic() - began < 15
    over.set()


def test_nobody_listens(client: Client) -> None:
    with serving() as api:
        pass
    with pytest.raises(ConnectionRefusedError) as failed:
        list(client(api.url).slices())
    assert explain(failed.value) == "the API cannot be reached: Connection refused"


def test_outside_of_a_pod(
    client: Client, tmp_path: Path, bare_environment: pytest.MonkeyPatch
) -> None:
    (tmp_path / "namespace").write_text("prod")
    with pytest.raises(ApiError, match="KUBERNETES_SERVICE_HOST is not set"):
        client("", tmp_path)


@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not there to make a certificate")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_as_in_a_pod(
    client: Client,
    tmp_path: Path,
    bare_environment: pytest.MonkeyPatch,
    host: str,
    quick: None,
) -> None:
    tls = certificate(tmp_path, "IP:127.0.0.1", "IP:::1")
    with serving(tls, host) as api:
        bare_environment.setenv("KUBERNETES_SERVICE_HOST", host)
        bare_environment.setenv("KUBERNETES_SERVICE_PORT", api.url.rpartition(":")[2])
        (tmp_path / "token").write_text("first\n")
        (tmp_path / "namespace").write_text("prod")
        asked = client("", tmp_path)
        api.token = "first"
        list(asked.slices())
        (tmp_path / "token").write_text("second")
        api.token = "second"
        assert list(asked.changes()) == []
        assert api.tokens == ["Bearer first", "Bearer second"], "read anew for each request"


@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not there to make a certificate")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("ca.crt", "certificate verify failed"),
        ("token", "is it mounted?"),
        ("name", "certificate verify failed"),
    ],
)
def test_what_does_not_fit_is_said(client: Client, tmp_path: Path, spoil: str, words: str) -> None:
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for folder in folders:
        folder.mkdir()
        (folder / "token").write_text("t")
    ours, theirs = folders
    tls = certificate(ours, "IP:127.0.0.2" if spoil == "name" else "IP:127.0.0.1")
    certificate(theirs, "IP:127.0.0.1")
    if spoil == "token":
        (ours / "token").unlink()
    with serving(tls) as api, pytest.raises(Error) as failed:
        list(client(api.url, theirs if spoil == "ca.crt" else ours).slices())
    assert words in explain(failed.value).lower().replace("_", " ")
    assert not api.tokens, "nothing is sent to a server that is not the API"


def test_over_plain_http_no_token_is_sent(client: Client, api: KubeApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    list(client(api.url, tmp_path).slices())
    assert api.tokens == [""]
