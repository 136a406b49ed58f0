"""What only etcd has: users, and tokens that a restart forgets."""

from pathlib import Path

from tests.harness import eventually
from tests.registry.conftest import Pod
from tests.registry.fake import CREDENTIALS, Fake


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


def test_a_token_that_is_lost_with_a_restart_is_replaced(registry: Fake, pod: Pod) -> None:
    registry.demand(credentials=True)
    service = pod(**CREDENTIALS).ready()
    service.logged("registered")
    registry.down()
    service.logged("registry failed; retrying")
    registry.up()
    service.logged("registry works again")
    eventually(lambda: registry.readers(), "the pod to be listed")
    service.drain()
    assert service.ended() == 0
    assert registry.readers() == set()
