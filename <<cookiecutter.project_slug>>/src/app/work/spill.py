"""A folder of batches that are kept on disk until the sink has taken them.

A file is a header and one JSON document per line. It is written under another name, synced and
renamed, so a file of the right name is whole, or its disk is broken: the header has a checksum.
Everything here blocks; call it in a thread.
"""

import contextlib
import fcntl
import json
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.lifecycle.ports import StartError

log = structlog.get_logger(__name__)

SUFFIX = ".batch"
#: What is added to the name of a file that cannot be read, or that the sink refused for good.
CORRUPT, REJECTED = ".corrupt", ".rejected"
VERSION = 1
#: An id: when the batch was made, in nanoseconds, and something random.
ID = re.compile(r"[0-9]{20}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Kept:
    """A batch on disk: its id, how many items it has, and the size of its file."""

    id: str
    items: int
    bytes: int


class Corrupt(Exception):  # noqa: N818 (it is a state of a file)
    """A file that is not what was written; the message says why."""


class Folder:
    """The files of one buffer. One process at a time uses a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def open(self) -> None:
        """Create the folder and lock it. Raises StartError, with a remedy."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise StartError(
                f"{self.path} is in use by another process; each process needs its own folder"
            ) from None
        except OSError as error:
            self.close()
            raise StartError(
                f"{self.path} cannot be used to keep items on disk: {error.strerror}; "
                "make it writable or name another folder"
            ) from None

    def close(self) -> None:
        """Release the lock, as the end of the process does."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def recover(self) -> list[Kept]:
        """The batches of earlier processes, oldest first.

        Unfinished files are removed, and those that cannot be read are set aside.
        """
        found: list[Kept] = []
        for path in sorted(self.path.iterdir()):
            if path.name.startswith("."):  # never renamed: its items were still in memory
                path.unlink(missing_ok=True)
            elif path.suffix == SUFFIX:
                try:
                    lines = self.read(path.stem)
                    found.append(Kept(path.stem, len(lines), path.stat().st_size))
                except (Corrupt, OSError) as error:
                    self.set_aside(path.stem, CORRUPT, str(error))
        return found

    def write(self, batch: str, lines: Sequence[str], aside: str = "") -> int:
        """Keep a batch; return its size in bytes. Raises OSError; then nothing is left of it.

        ``aside`` is added to the name of a file that is not to be flushed.
        """
        body = "\n".join(lines).encode()
        header = {"version": VERSION, "items": len(lines), "crc32": zlib.crc32(body)}
        data = json.dumps(header).encode() + b"\n" + body
        path = self._file(batch, aside)
        unfinished = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        try:
            with unfinished.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
            self._sync()
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        return len(data)

    def read(self, batch: str) -> list[str]:
        """The lines of a batch. Raises Corrupt, or OSError."""
        if not ID.fullmatch(batch):
            raise Corrupt("its name is not that of a batch")
        try:
            head, _, body = self._file(batch).read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise Corrupt("somebody has removed it") from None
        try:
            header = json.loads(head)
            version, items, checksum = header["version"], header["items"], header["crc32"]
        except (ValueError, TypeError, KeyError):
            raise Corrupt("its first line is no header") from None
        if version != VERSION:
            raise Corrupt(f"it has format {version}, and this version reads format {VERSION}")
        if zlib.crc32(body) != checksum:
            raise Corrupt(f"its checksum does not match; it had {items} items")
        return body.decode().split("\n") if items else []

    def remove(self, batch: str) -> None:
        """Forget a batch that the sink has taken."""
        self._file(batch).unlink(missing_ok=True)

    def set_aside(self, batch: str, why: str, reason: str) -> None:
        """Rename the file of a batch, so that a person can look at it, and say so."""
        aside = self._file(batch, why)
        with contextlib.suppress(OSError):
            self._file(batch).rename(aside)
        log.error("batch set aside", file=str(aside), reason=reason)

    def _file(self, batch: str, aside: str = "") -> Path:
        return self.path / f"{batch}{SUFFIX}{aside}"

    def _sync(self) -> None:
        """Make the names in the folder durable."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
