"""TLS on the main port: what clients get, and a certificate that is renewed while they do."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import HOST, eventually
from tests.wire import Connection

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the program openssl")


def issue(folder: Path) -> Path:
    """Write tls.crt and tls.key for ``localhost``, each at once, as renewals do."""
    new = folder / "new"
    new.mkdir(parents=True)
    command = "openssl req -x509 -nodes -newkey rsa:2048 -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost -keyout tls.key -out tls.crt"
    subprocess.run(command.split(), cwd=new, capture_output=True, check=True)
    for name in ("tls.key", "tls.crt"):
        (new / name).replace(folder / name)
    new.rmdir()
    return folder


class Secured(Connection):
    """A connection with TLS that trusts what is in ``folder`` now."""

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(HOST, port)
        context = ssl.create_default_context(cafile=folder / "tls.crt")
        self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._reader = self._socket.makefile("rb")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    folder = issue(tmp_path / "tls")
    names = {"APP_TLS__CERTIFICATE": "tls.crt", "APP_TLS__KEY": "tls.key"}
    paths = {setting: str(folder / name) for setting, name in names.items()}
    return {**paths, "APP_TLS__CHECK_SECONDS": "0.1"}


def test_requests_are_served_over_tls(serve: Start, settings: dict[str, str]) -> None:
    service = serve("tests.application", **settings)
    with Secured(service.port, Path(settings["APP_TLS__KEY"]).parent) as client:
        assert client.get("/hello").body == b'"hello"'
        client.ask("/slow?seconds=1")
        eventually(lambda: service.status()["in_flight"] == 1, "the request to be in flight")
        service.signal()
        assert client.response().closes
        assert client.ends()
    assert service.ended() == 0


def test_a_renewed_certificate_needs_no_restart(serve: Start, settings: dict[str, str]) -> None:
    service, folder = serve("tests.application", **settings), Path(settings["APP_TLS__KEY"]).parent
    with Secured(service.port, folder) as before:
        issue(folder)
        service.logged("certificate reloaded")
        with Secured(service.port, folder) as after:
            assert after.get("/hello").status == 200
        assert before.get("/hello").status == 200


def test_a_broken_renewal_leaves_the_old_one_in_use(
    serve: Start, settings: dict[str, str], tmp_path: Path
) -> None:
    service, folder = serve("tests.application", **settings), Path(settings["APP_TLS__KEY"]).parent
    shutil.copytree(folder, tmp_path / "old")
    (issue(tmp_path / "other") / "tls.key").replace(folder / "tls.key")
    assert "APP_TLS__KEY" in service.logged("certificate not reloaded")["reason"]
    with Secured(service.port, tmp_path / "old") as client:
        assert client.get("/hello").status == 200
    failures = b"\napp_tls_reload_failures_total 0"
    eventually(lambda: failures not in service.probe("metrics").body, "a failure in the metrics")


def test_a_start_without_the_certificate_says_what_to_do(
    start: Start, settings: dict[str, str]
) -> None:
    Path(settings["APP_TLS__KEY"]).unlink()
    service = start(**settings)
    assert service.ended() == 3
    (sentence,) = service.stderr.splitlines()
    assert settings["APP_TLS__KEY"] in sentence
