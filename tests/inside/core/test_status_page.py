"""``/statusz``: who gets the page, what it says, what it hides, and when it answers."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from app.lifecycle.management.statusz import prefers_html
from tests.apps.status import HOSTILE, NEEDS
from tests.conftest import Start
from tests.harness import HOST, Service, eventually, running
from tests.wire import Connection

APPLICATION = "tests.apps.status"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
#: Elements without an end.
VOID = {"meta", "link", "wbr"}


class Page(HTMLParser):
    """Checks that elements are nested as HTML and SVG want it, and collects what they hold."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag]

    @property
    def text(self) -> str:
        return "".join(text for inside, text in self.texts if inside != "style")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """For tests that only read."""
    with running(APPLICATION, APP_LOG__LEVEL="debug") as service:
        yield service.ready()


def page_of(service: Service, query: str = "") -> Page:
    answer = service.probe(f"statusz{query}", accept=BROWSER)
    assert answer.status == 200, answer
    return Page(answer.body.decode())


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML ; charset=utf-8", True),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("application/json", False),
        ("*/*", False),
        ("text/*", False),
        (", ;,", False),
        ("", False),
    ],
)
def test_who_gets_the_page(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html


def test_what_is_asked_for_is_answered(service: Service) -> None:
    kinds = {
        ("", "*/*"): "application/json",
        ("", BROWSER): "text/html; charset=utf-8",
        ("?format=json", BROWSER): "application/json",
        ("?format=html", "*/*"): "text/html; charset=utf-8",
    }
    for (query, accept), kind in kinds.items():
        answer = service.probe(f"statusz{query}", accept=accept)
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["vary"] == "accept"
        assert answer.headers["cache-control"] == "no-store"
    for query, said in {
        "format=xml": b"format=xml is unknown: use format=html or format=json\n",
        "refresh=-1": b"refresh=-1 must be a whole number of seconds up to 3600",
        "format=html&refresh=9999": b"refresh=9999 must be",
        "refresh=%C2%B2": b"must be",
    }.items():
        answer = service.probe(f"statusz?{query}")
        assert (answer.status, answer.headers["content-type"]) == (400, "text/plain")
        assert said in answer.body
    assert not [tag for tag in page_of(service).elements if "http-equiv" in tag[1]]
    refreshing = [given for _, given in page_of(service, "?refresh=7").elements]
    assert {"http-equiv": "refresh", "content": "7"} in refreshing

    with Connection(HOST, service.management_port) as connection:
        connection.ask("/statusz", "HEAD", accept=BROWSER)
        head = connection.head()
        assert connection.ends(), "no body"
    assert head.status == 200
    assert int(head.headers["content-length"]) > 10_000


def test_the_page_needs_nothing_from_elsewhere(service: Service) -> None:
    answer = service.probe("statusz", accept=BROWSER)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = Page(answer.body.decode())
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "iframe", "form", "object", "base"}
    found = [(name, value) for _, given in page.elements for name, value in given.items()]
    addresses = [value for name, value in found if name in ("src", "href")]
    assert all(address.startswith(("data:image/svg+xml,", "?")) for address in addresses)
    assert not [name for name, _ in found if name.startswith("on")]
    assert "style" not in dict(found), "the policy forbids it"
    (style,) = page.all("style")
    assert not re.search(r"@import|url\(", style)


def test_what_others_have_named_is_text(serve: Start) -> None:
    service = serve(
        APPLICATION, POD_NAME="<b>web", POD_IMAGE="<i>'\"", APP_REQUESTS__TIMEOUT_SECONDS="9"
    )
    service.connect().ask("/v1/orders/%3Cscript%3Ea/items/b?seconds=60")
    service.connect().ask("/v1/orders/a/items/b?seconds=60", x_request_id="<img src=x>")
    service.busy(2)
    page = page_of(service)
    assert page.all("title")[0].startswith("ready · <b>web · "), "parsed as one text"
    assert not {tag for tag, _ in page.elements} & {"script", "b", "i", "img"}
    assert "broken()" in page.text
    assert "<i>'\"" in page.text
    assert "\u202e" not in page.text, "what turns or hides the text around it is shown instead"
    assert r"\u202e\x00" in page.text
    status = service.status()
    assert HOSTILE in status["periodic_tasks"]
    assert {one["route"] for one in status["requests"]} == {"/v1/orders/{customer}/items/{item}"}
    assert "<img src=x>" not in json.dumps(status), "no id of the logs"


def test_secrets_are_not_shown(service: Service) -> None:
    for query in ("?format=json", "?format=html"):
        assert b"hunter2" not in service.probe(f"statusz{query}").body
    settings = service.status()["settings"]
    assert settings["APP_LOG__LEVEL"] == {"value": "debug", "set": True}
    assert settings["APP_LOG__FORMAT"] == {"value": "auto", "set": False}
    assert settings["APP_STRIPE_KEY"] == {"value": "[redacted]", "set": False}
    assert settings["APP_BROKER__PASSWORD"]["value"] == "[redacted]"
    url = settings["APP_DATABASE_URL"]["value"]
    assert url == "postgresql://[redacted]@db.internal/orders?sslmode=verify-full"
    replicas = settings["APP_REPLICAS"]["value"]
    assert replicas == ["https://[redacted]@a.test", "https://b.test?token=[redacted]&x=1"]
    assert settings["APP_HEADERS"]["value"] == {"x-api-key": "[redacted]", "x-tenant": HOSTILE}


def test_it_says_what_the_pod_is_doing(serve: Start) -> None:
    service = serve(APPLICATION, POD_NAME="web-1", POD_IMAGE="registry/web:1")
    for number in range(60):
        path = f"/v1/orders/secret-name/items/{number}?seconds=60"
        service.connect().ask(path, x_request_id=f"number-{number}")
    service.connect().ask("/events")
    service.busy(60)
    eventually(lambda: service.status()["streams"] == 1, "the stream")
    status = service.status()
    assert len(status["requests"]) == 50, "the oldest"
    ages = [one["seconds"] for one in status["requests"]]
    assert ages == sorted(ages, reverse=True)
    assert {one["request_id"] for one in status["requests"]} < {f"number-{n}" for n in range(60)}
    assert status["open_streams"][0]["route"] == "/events"
    assert [one["phase"] for one in status["history"]] == ["starting", "ready"]
    assert [one["reason"] for one in status["history"]] == ["process started", "started"]
    assert {name: tuple(one["needs"]) for name, one in status["components"].items()} == {
        name: tuple(sorted(needs)) for name, needs in NEEDS.items()
    }
    assert {one["state"] for one in status["components"].values()} == {"running"}
    assert all(one["start_seconds"] > 0 for one in status["components"].values())
    assert status["limits"]["connections"]["now"] >= 61
    assert status["identity"]["image"] == "registry/web:1"
    assert status["versions"]["fastapi"]
    assert status["process"]["memory_bytes"] > 1e7
    assert status["endpoint"]["state"] == "not watched: APP_KUBERNETES__SERVICES is empty"

    page = page_of(service)
    assert "Requests in flight: the oldest 50 of 60" in page.all("h2")
    assert page.all("title")[0].startswith("ready · web-1 · ")
    assert set(NEEDS) <= {text.split(" is running")[0] for text in page.all("title")[1:]}
    assert "secret-name" not in page.text, "the route, not the path"
    headings = [tag for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    rows = [given for tag, given in page.elements if tag == "th"]
    assert all(given["scope"] in ("col", "row") for given in rows)


def test_tasks_have_a_last_and_a_next_round(service: Service) -> None:
    eventually(lambda: service.status()["task_failures"].get("sync"), "a failure")
    status = service.status()
    sync, rare = status["periodic_tasks"]["sync"], status["periodic_tasks"][HOSTILE]
    assert sync["runs"] >= 1
    assert sync["failures"] >= 1
    assert sync["last_run"] <= status["now"]
    assert (rare["runs"], rare["last_run"], rare["every_seconds"]) == (0, None, 3600)
    assert rare["next_run"] > status["now"]

    def backup() -> Any:
        return service.status()["periodic_tasks"]["backup"]

    eventually(lambda: backup()["running"], "a round that takes its time")
    eventually(lambda: backup()["next_run"], "its end")


def test_it_answers_while_the_event_loop_is_blocked(serve: Start) -> None:
    service = serve(APPLICATION, APP_PROBES__UNREADY_SECONDS="0.5")
    with service.connect() as connection:
        connection.ask("/block?seconds=6")
        eventually(lambda: service.status()["event_loop_stalled_seconds"] > 1, "the block")
        page = page_of(service)
        assert page.all("title")[0].startswith("unready · ")
        assert "event loop blocked for" in page.text
        assert "/block" in page.text
        assert service.status()["event_loop_stalled_seconds"] > 1, "still"
        assert connection.response().status == 200


def test_a_stop_is_shown_step_by_step(serve: Start) -> None:
    service = serve(
        APPLICATION,
        SECONDS_TO_CLOSE="1",
        APP_SHUTDOWN__STOP_SECONDS="60",
        APP_SHUTDOWN__GRACE_SECONDS="100",
        APP_KUBERNETES__SERVICES="web",
    )
    with service.connect() as connection:
        connection.ask("/v1/orders/a/items/b?seconds=2")
        service.busy(1)
        service.drain()
        eventually(lambda: service.status()["endpoint"]["state"].startswith("cannot"), "the watch")
        page, status = page_of(service), service.status()
        assert page.all("title")[0].startswith("draining · ")
        assert "draining: received SIGTERM." in page.text
        assert "The stop so far" in page.all("h2")
        assert 0 < status["cut_in_seconds"] <= 10
        assert 10 < status["killed_in_seconds"] <= 100
        assert status["history"][-1]["reason"] == "received SIGTERM"
        assert connection.response().status == 200

    def states() -> set[str]:
        return {one["state"] for one in service.status()["components"].values()}

    eventually(lambda: states() == {"running", "stopping"}, "those that nothing needs to stop")
    eventually(lambda: states() == {"running", "stopping", "stopped"}, "the next ones")
    assert page_of(service).all("title")[0].startswith("stopping · ")


def test_it_is_imported_when_somebody_asks() -> None:
    names = ("status", "management.statusz", "management.statuspage", "management.graph")
    source = f"""
import sys
import app.main, app.wiring
print([name for name in {names} if f"app.lifecycle.{{name}}" in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
