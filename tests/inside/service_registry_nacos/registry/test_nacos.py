"""What only Nacos has: access tokens that end."""

from pathlib import Path

import pytest

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
    assert registry.refused == 0


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


def test_a_password_in_a_file_is_read_at_each_login(
    registry: Fake, pod: Pod, tmp_path: Path
) -> None:
    registry.demand(credentials=True)
    password = tmp_path / "password"
    password.write_text("old\n")
    user = CREDENTIALS["APP_REGISTRY__USERNAME"]
    given = {"APP_REGISTRY__USERNAME": user, "APP_REGISTRY__PASSWORD_FILE": str(password)}
    service = pod(**given).ready()
    service.logged("registry failed; retrying")
    password.unlink()
    why = eventually(
        lambda: [x for x in service.lines("registry failed; retrying") if "read" in x["why"]],
        "the file to be missed",
    )
    assert str(password) in why[0]["why"]
    password.write_text(CREDENTIALS["APP_REGISTRY__PASSWORD"] + "\n")
    service.logged("registered")


@pytest.mark.parametrize("status", [200, 404, 500])
def test_an_unknown_instance_whatever_the_status(registry: Fake, pod: Pod, status: int) -> None:
    """Nacos 3 answers 200; what is in front of it may not."""
    registry.unknown_status = status
    service = pod(APP_REGISTRY__READ_BACK_SECONDS="60").ready()
    service.logged("registered")
    registry.forget()
    service.logged("registry lost the entry; registering again")
    eventually(lambda: registry.readers(), "the pod to be listed")
