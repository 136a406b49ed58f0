"""Where Helm comes from: the installed one, a package, or a release whose checksum is known."""

import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dev import helm

PROJECT = Path(helm.__file__).parents[1]
BINARY = "#!/bin/sh\necho helm of the archive: $*\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served as HELM_MIRROR, for a machine without Helm and its packages."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(helm, "CARRIERS", {"v0": "no-such-package"})
    monkeypatch.setattr(helm, "UNPACKED", tmp_path / "unpacked")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("HELM_MIRROR", f"http://127.0.0.1:{server.server_port}")
        helm.find.cache_clear()
        yield folder
        helm.find.cache_clear()
        server.shutdown()
        thread.join()


def on(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)


def published(mirror: Path, name: str) -> str:
    """Put an archive like that of a release into the mirror, and return its SHA-256."""
    archive = mirror / f"helm-{helm.RELEASE}-{name}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(f"{name}/helm")
        member.size = len(BINARY)
        tar.addfile(member, io.BytesIO(BINARY.encode()))
    return hashlib.sha256(archive.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Linux", "aarch64", "linux-arm64"),
        ("Linux", "x86_64", "linux-amd64"),
        ("Darwin", "arm64", "darwin-arm64"),
        ("Darwin", "x86_64", "darwin-amd64"),
    ],
)
def test_the_release_for_the_machine_is_downloaded_once(
    mirror: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str, name: str
) -> None:
    on(monkeypatch, system, machine)
    monkeypatch.setitem(helm.ARCHIVES, name, published(mirror, name))
    assert helm.find().run("version") == "helm of the archive: version\n"
    (mirror / f"helm-{helm.RELEASE}-{name}.tar.gz").unlink()
    helm.find.cache_clear()
    assert helm.find().run("lint") == "helm of the archive: lint\n"


def test_an_archive_with_another_checksum_is_refused(
    mirror: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, "Linux", "aarch64")
    digest = published(mirror, "linux-arm64")
    with pytest.raises(helm.HelmError, match=f"has the SHA-256 {digest} instead of "):
        helm.find()
    assert not (tmp_path / "unpacked").exists()


def test_a_mirror_that_lacks_it_is_named(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "Darwin", "arm64")
    with pytest.raises(helm.HelmError, match=r"darwin-arm64\.tar\.gz: HTTP Error 404"):
        helm.find()


def test_a_machine_without_a_release_is_named(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, "Linux", "riscv64")
    with pytest.raises(helm.HelmError, match="none is known for linux-riscv64: install"):
        helm.find()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("echo v2.17.0", r"helm is not Helm 3 or 4 \(2\)"),
        ("echo broken >&2; exit 1", r"not Helm 3 or 4 \(broken\)"),
    ],
)
def test_an_installed_helm_that_cannot_be_used_is_refused(
    tmp_path: Path, program: str, said: str
) -> None:
    path = tmp_path / "helm"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "dev.helm", "version"],
        cwd=PROJECT,
        env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert re.search(said, done.stderr)
