"""The thresholds, and calls over TLS."""

from pathlib import Path

import pytest

from app.registry.registrar import Thresholds
from tests.harness import HOST, eventually
from tests.kube import HAS_OPENSSL, certificate
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
