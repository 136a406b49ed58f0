"""The thresholds, what a drain is told, and calls over TLS."""

import asyncio
import math
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.lifecycle.registration import Registration
from app.registry.client import Entry, RegistryError
from app.registry.registrar import JITTER, Registrar, Thresholds, jittered
from app.registry.settings import Registry
from tests.authority import HAS_OPENSSL, certificate
from tests.harness import HOST, eventually
from tests.registry.conftest import Pod
from tests.registry.fake import Fake
from tests.registry.server import running


def judged(rounds: str) -> str:
    """``+`` for a good round or a listed pod, ``-`` for the opposite; out after 3, in after 2."""
    thresholds = Thresholds(failures=3, successes=2)
    return "".join("+" if thresholds.judge(one == "+") else "-" for one in rounds)


@pytest.mark.parametrize(
    ("rounds", "listed"),
    [
        ("+", "+"),
        ("--+", "--+"),
        ("+--+", "++++"),
        ("+---", "+++-"),
        ("+--+--+", "+++++++"),
        ("+---+-+", "+++----"),
        ("+---++", "+++--+"),
    ],
)
def test_one_round_changes_nothing(rounds: str, listed: str) -> None:
    assert judged(rounds) == listed


def test_pods_do_not_call_at_the_same_time() -> None:
    pauses = {jittered(5) for _ in range(100)}
    assert len(pauses) > 90
    assert 5 <= min(pauses) < 5.2
    assert 5.8 < max(pauses) <= 5 * (1 + JITTER) == 6


def registration(**fields: float) -> Registration:
    found = Registration(clock=lambda: 100.0)
    found.present, found.readers, found.budget, found.ttl = True, 5.0, 3.0, 15.0
    for name, value in fields.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("fields", "unread"),
    [
        ({"renewed": 99.0}, 99 + 15 + 5),  # unless it is removed
        ({"renewed": 80.0}, 100 + 3 + 5),  # the attempts to remove it take longer
        ({"renewed": 99.0, "ttl": 0.0}, 100 + 3 + 5),  # it does not expire
        ({"renewed": 99.0, "out": 97.0}, 97 + 5),  # it was taken out before
    ],
)
def test_when_no_reader_knows_the_entry(fields: dict[str, float], unread: float) -> None:
    listing = registration(**fields).listing(began=100.0)
    assert listing is not None
    assert listing.unread == unread


def test_a_removal_counts_from_its_confirmation() -> None:
    found = registration(renewed=99.0)
    found.remove()
    listing = found.listing(began=98.0)
    assert listing is not None
    assert listing.unread == 105


def test_an_entry_that_never_was_keeps_no_drain() -> None:
    assert registration(present=False).listing(began=100.0) is None


class Broken:
    """A registry whose calls all fail, registrations once ``failing`` is set."""

    def __init__(self, applied: bool) -> None:
        self._applied = applied
        self.called, self.failing = asyncio.Event(), asyncio.Event()

    async def register(self, entry: Entry, *, well: bool, note: str) -> None:
        self.called.set()
        await self.failing.wait()
        raise RegistryError("no response", applied=self._applied)

    async def deregister(self, entry: Entry) -> None:
        raise RegistryError("no connection")


def registrar(client: Broken, state: Registration, **settings: float) -> Registrar:
    ready: Any = SimpleNamespace(ok=True, reason="")
    service: Any = SimpleNamespace(
        lifecycle=None,
        registration=state,
        probes=SimpleNamespace(readyz=lambda: ready),
        checks=SimpleNamespace(results=dict),
    )
    entry = Entry("web", "web-1", HOST, 80, "http://127.0.0.1/readyz")
    return Registrar(cast("Any", client), entry, Registry.model_validate(settings), service)


@pytest.mark.parametrize("applied", [True, False])
def test_a_call_without_a_response_may_have_made_the_entry_live_for_longer(applied: bool) -> None:
    async def fail() -> Registration:
        client, state = Broken(applied), Registration()
        client.failing.set()
        await registrar(client, state)._round()
        return state

    state = asyncio.run(fail())
    assert state.failures == 1
    assert state.present is applied
    assert math.isfinite(state.renewed) is applied


@pytest.mark.parametrize("applied", [True, False])
def test_a_registration_under_way_that_fails_may_leave_nothing_to_remove(applied: bool) -> None:
    async def leave() -> tuple[Registration, float]:
        client, state = Broken(applied), Registration()
        # The removal is tried for long only if there may be something to remove.
        one = registrar(client, state, deregister_seconds=0.5 if applied else 600)
        call = asyncio.create_task(one._round())
        await client.called.wait()
        asyncio.get_running_loop().call_later(0.05, client.failing.set)
        began = time.monotonic()
        await one._leave(call)
        return state, time.monotonic() - began

    state, seconds = asyncio.run(leave())
    assert state.given_up is applied
    assert (state.listing(0.0) is None) is not applied
    assert seconds < 60


@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not installed")
def test_a_registry_with_a_ca_of_its_own(pod: Pod, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    certificate(bad, f"IP:{HOST}")

    class Secure(Fake):
        tls = certificate(good, f"IP:{HOST}")

    secure = Secure()
    with running(secure):
        given = {"APP_REGISTRY__URL": secure.url}
        trusting = pod(**given, APP_REGISTRY__CA_FILE=str(good / "ca.crt")).ready()
        eventually(lambda: secure.acts("register"), "a registration")
        trusting.logged("registered")
        wary = pod("web-2", **given, APP_REGISTRY__CA_FILE=str(bad / "ca.crt")).ready()
        why = wary.logged("registry failed; retrying")["why"]
        assert "CERTIFICATE_VERIFY_FAILED" in why
        assert wary.get("/hello").status == 200


@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not installed")
def test_a_ca_that_is_replaced(pod: Pod, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    certificate(old, f"IP:{HOST}")

    class Secure(Fake):
        tls = certificate(new, f"IP:{HOST}")

    ca = tmp_path / "ca.crt"
    shutil.copy(old / "ca.crt", ca)
    secure = Secure()
    with running(secure):
        service = pod(APP_REGISTRY__URL=secure.url, APP_REGISTRY__CA_FILE=str(ca)).ready()
        service.logged("registry failed; retrying")
        shutil.copy(new / "ca.crt", tmp_path / "next.crt")
        (tmp_path / "next.crt").replace(ca)
        service.logged("registered")
