"""A registry, and pods that register there."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Start
from tests.harness import HOST, Service
from tests.registry.fake import Fake
from tests.registry.server import running

#: Short times. The lease of etcd counts whole seconds.
QUICK = {
    "APP_REGISTRY__SERVICE": "web",
    "APP_REGISTRY__ADDRESS": HOST,
    "APP_REGISTRY__INTERVAL_SECONDS": "0.2",
    "APP_REGISTRY__TTL_SECONDS": "2",
    "APP_REGISTRY__TIMEOUT_SECONDS": "1",
    "APP_REGISTRY__READ_BACK_SECONDS": "0.5",
    "APP_REGISTRY__DEREGISTER_SECONDS": "1.5",
    "APP_REGISTRY__READERS_SECONDS": "1",
    "APP_REGISTRY__TAGS": "v1,public",
    "POD_NAMESPACE": "prod",
    "POD_ZONE": "eu-1a",
}
Pod = Callable[..., Service]


@pytest.fixture
def registry() -> Iterator[Fake]:
    fake = Fake()
    with running(fake):
        yield fake


@pytest.fixture
def pod(start: Start, registry: Fake) -> Pod:
    """Start a pod; do not wait for it."""

    def begin(name: str = "web-1", **settings: str) -> Service:
        given = {**QUICK, "APP_REGISTRY__URL": registry.url, "POD_NAME": name, **settings}
        return start("tests.apps.registered", **given)

    return begin
