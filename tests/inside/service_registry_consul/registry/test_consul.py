"""What only Consul has: checks with a reason, tokens in files, versions before 1.11."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.authority import HAS_OPENSSL, certificate
from tests.harness import HOST, eventually
from tests.registry.conftest import Pod
from tests.registry.fake import CREDENTIALS, Fake


def test_a_heartbeat_reports_the_checks(registry: Fake, pod: Pod) -> None:
    service = pod().ready()
    service.logged("registered")
    eventually(lambda: registry.services["web-1"].output == "ready", "a heartbeat")
    service.get("/check/fail")
    eventually(lambda: registry.services["web-1"].status == "critical", "the pod to be out")
    output = "check gate: ConnectionError"
    eventually(lambda: registry.services["web-1"].output == output, "the reason")


def test_a_token_in_a_file_is_read_again(registry: Fake, pod: Pod, tmp_path: Path) -> None:
    registry.demand(credentials=True)
    token = tmp_path / "token"
    token.write_text("old\n")
    service = pod(APP_REGISTRY__TOKEN_FILE=str(token)).ready()
    service.logged("registry failed; retrying")
    token.write_text(CREDENTIALS["APP_REGISTRY__TOKEN"] + "\n")
    service.logged("registered")


def test_an_agent_before_1_11(registry: Fake, pod: Pod) -> None:
    registry.old = True
    service = pod().ready()
    service.logged("registered")
    registry.forget()
    service.logged("registry lost the entry; registering again")
    service.drain()
    assert service.ended() == 0
    service.logged("removed from the registry")
    assert registry.services == {}


def test_the_probe_goes_to_the_management_port_if_the_main_port_has_none(
    registry: Fake, pod: Pod
) -> None:
    service = pod(APP_REGISTRY__STRATEGY="probe", APP_PROBES__MAIN_PORT="false").ready()
    service.logged("registered")
    check = registry.services["web-1"].check
    assert check["HTTP"] == f"http://{HOST}:{service.management_port}/readyz"
    eventually(lambda: registry.services["web-1"].good >= 2, "the probes to succeed")


@pytest.mark.skipif(find_spec("app.lifecycle.http.tls") is None, reason="the project has no TLS")
@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not installed")
def test_clients_and_probes_learn_that_the_port_speaks_tls(
    registry: Fake, pod: Pod, tmp_path: Path
) -> None:
    certificate(tmp_path, f"IP:{HOST}")
    service = pod(
        APP_REGISTRY__STRATEGY="probe",
        APP_TLS__CERTIFICATE=str(tmp_path / "server.crt"),
        APP_TLS__KEY=str(tmp_path / "server.key"),
    )
    service.logged("registered")
    eventually(lambda: registry.services["web-1"].good >= 2, "the probes to succeed")
    assert registry.services["web-1"].check["HTTP"] == f"https://{HOST}:{service.port}/readyz"
    assert registry.services["web-1"].body["Meta"]["secure"] == "true"
