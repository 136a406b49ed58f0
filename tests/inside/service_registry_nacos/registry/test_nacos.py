"""What only Nacos has: access tokens that end."""

from tests.harness import HOST, eventually
from tests.registry.conftest import Pod
from tests.registry.fake import CREDENTIALS, Fake


def test_a_token_is_renewed_before_it_ends(registry: Fake, pod: Pod) -> None:
    registry.demand(credentials=True)
    registry.ttl = 2.0
    service = pod(**CREDENTIALS).ready()
    service.logged("registered")
    eventually(lambda: len(registry.acts("login")) >= 3, "two renewals")
    assert service.status()["registration"]["failures"] == 0


def test_a_token_that_the_server_has_forgotten_is_replaced(registry: Fake, pod: Pod) -> None:
    registry.demand(credentials=True)
    service = pod(**CREDENTIALS).ready()
    service.logged("registered")
    registry.expire_tokens()
    eventually(lambda: len(registry.acts("login")) == 2, "a second login")
    service.drain()
    assert service.ended() == 0
    assert registry.readers() == set()


def test_heartbeats_and_expiry_follow_the_settings(registry: Fake, pod: Pod) -> None:
    service = pod().ready()
    eventually(lambda: (HOST, service.port) in registry.readers(), "the pod to be listed")
    meta = registry.facts()["meta"]
    assert meta["preserved.heart.beat.interval"] == "200"
    assert meta["preserved.heart.beat.timeout"] == "2000"
    assert meta["preserved.ip.delete.timeout"] == "4000"
