"""Clients that read the registry every 5 s, beside a rolling update of the real service.

The service is the one that is deployed, replaced as the kubelet does it: the new pod is ready,
then the preStop hook drains the old one, then it gets SIGTERM.
"""

import contextlib
import json
import signal
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.registry.clients import Client
from tests.registry.conftest import QUICK
from tests.registry.fake import Fake

pytestmark = pytest.mark.slow

INTERVAL = 5.0
#: Seconds that a drain waits for readers: their interval, and a second to read and to connect.
READERS = INTERVAL + 1
PODS = 2
DECIDED = "removed from the registry + readers"


def begin(start: Start, registry: Fake, name: str, readers: float) -> Service:
    """A new pod, which is ready and in the registry."""
    given = {
        **QUICK,
        "APP_REGISTRY__URL": registry.url,
        "APP_REGISTRY__READERS_SECONDS": str(readers),
        "APP_SHUTDOWN__LIMIT_SECONDS": "30",
        "APP_SHUTDOWN__GRACE_SECONDS": "60",
        "POD_NAME": name,
    }
    service = start("", **given).ready()
    eventually(lambda: (HOST, service.port) in registry.readers(), f"{name} to be listed")
    return service


def replace(old: Service) -> None:
    """Stop ``old`` as the kubelet does."""
    hook = old.prestop()
    said, wrong = hook.communicate(timeout=60)
    assert hook.returncode == 0, said + wrong
    old.signal(signal.SIGTERM)
    assert old.ended() == 0


@contextlib.contextmanager
def sending(registry: Fake, *, busy: bool) -> Iterator[list[Client]]:
    """Clients with load, on new and on kept connections, or with few requests.

    Few are not noticed, whereas a pod that still gets many does not stop anyway.
    """
    with contextlib.ExitStack() as open_clients:
        yield [
            open_clients.enter_context(
                Client(
                    registry,
                    interval=INTERVAL,
                    pause=0.02 if busy else 0.9,
                    keep_alive=number % 2 == 1,
                )
            )
            for number in range(6 if busy else 3)
        ]


def roll(start: Start, registry: Fake, *, busy: bool, readers: float) -> tuple[int, list[str]]:
    """Replace all pods one after the other; return how many requests there were, and the lost."""
    old = [begin(start, registry, f"old-{number}", readers) for number in range(PODS)]
    with sending(registry, busy=busy) as clients:
        for number, service in enumerate(old):
            begin(start, registry, f"new-{number}", readers)
            replace(service)
    sent = sum(client.sent.total() for client in clients)
    lost = [why for client in clients for why in client.lost]
    drains = [service.report["seconds"]["draining"] for service in old]
    found = {"sent": sent, "lost": len(lost), "readers": readers, "drains": drains}
    print("\nrolling update:", json.dumps({**found, "busy": busy}))
    if readers:
        asked = [sum(client.sent[service.port] for client in clients) for service in old]
        assert all(asked), "both old pods had requests"
        assert min(drains) >= readers
    return sent, lost


def test_clients_under_load_lose_nothing(start: Start, registry: Fake) -> None:
    sent, lost = roll(start, registry, busy=True, readers=READERS)
    assert lost == []
    assert sent > 500


def test_clients_with_few_requests_lose_nothing(start: Start, registry: Fake) -> None:
    """Nothing but the time for readers keeps the pod from stopping before the client knows."""
    _, lost = roll(start, registry, busy=False, readers=READERS)
    assert lost == []


def test_without_time_for_readers_they_lose_requests(start: Start, registry: Fake) -> None:
    """So the test above can fail. A client with few requests may be lucky, but not each time."""
    assert any(roll(start, registry, busy=False, readers=0)[1] for _ in range(4))
