"""A table for the items, a folder for what is left over, and a small disk."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.buffer.sink import sql


@pytest.fixture
def table(database: str) -> str:
    sql(database, "CREATE TABLE sunk (batch text, n int, item json, PRIMARY KEY (batch, n))")
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spill"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"cannot mount: {made.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
