"""What the process uses, and the versions of what it runs."""

import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: The packages whose versions are shown.
PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "structlog")


def memory(field: str) -> int | None:
    """A field of Linux's ``/proc/self/status`` in bytes."""
    with suppress(OSError, ValueError, IndexError):
        text = Path("/proc/self/status").read_text("ascii")
        return int(text.partition(f"{field}:")[2].split()[0]) * 1024
    return None


def memory_limit() -> int | None:
    """The container's limit, where its control group is that of Linux's version 2."""
    with suppress(OSError, ValueError):
        return int(Path("/sys/fs/cgroup/memory.max").read_text("ascii"))
    return None


def open_files() -> int | None:
    with suppress(OSError):
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    return None


@cache
def versions() -> dict[str, str]:
    """The versions of the service, of Python and of the main packages."""
    found = {"<< cookiecutter.project_slug >>": "", "python": sys.version.split()[0]}
    for name in ("<< cookiecutter.project_slug >>", *PACKAGES):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
