"""Addresses that nobody answers at, and a name service that does not answer."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import HOST

#: Seconds that a lookup takes: two attempts.
LOOKUP = 2 * 30
#: Seconds that something may take on a busy machine; less than a lookup or a connect that hangs.
NO_WAIT = 40


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Nobody listens."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield f"{HOST}:{bound.getsockname()[1]}"


@contextlib.contextmanager
def dropping() -> Iterator[str]:
    """The kernel drops what arrives, because the backlog is full: connections hang."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind((HOST, 0))
        full.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield f"{HOST}:{full.getsockname()[1]}"


@contextlib.contextmanager
def nameless() -> Iterator[str]:
    """A name that takes ``LOOKUP`` seconds to be not found, under ``mute_names``."""
    yield "name.example:80"


@contextlib.contextmanager
def mute_names(folder: Path) -> Iterator[tuple[str, ...]]:
    """The words before a command that sees a name service which does not answer.

    Skips the test without the permission to replace ``/etc/resolv.conf`` for one process.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    with socket.socket(type=socket.SOCK_DGRAM) as mute:
        address = f"127.0.{os.getpid() % 250 + 1}.53"  # each process of the tests has its own
        mute.bind((address, 53))
        resolver = folder / "resolv.conf"
        resolver.write_text(f"nameserver {address}\noptions timeout:30 attempts:2\n", "utf-8")
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        yield ("unshare", "--mount", "sh", "-c", script, str(resolver))
