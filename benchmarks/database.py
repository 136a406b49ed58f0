"""A PostgreSQL server for a project that has the answer ``database``."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATABASE = Path(__file__).resolve().parent.parent / "build/database/example-service"


@contextmanager
def database() -> Iterator[dict[str, str]]:
    """The settings that lead to it; its schema is the project's newest."""
    python = str(DATABASE / ".venv/bin/python")
    shell = 'echo "$APP_DATABASE__URL"; exec cat'  # until its standard input is closed
    command = [python, "-m", "dev.postgres", "sh", "-c", shell]
    with subprocess.Popen(command, cwd=DATABASE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip() if server.stdout else ""
        settings = {"APP_DATABASE__URL": address}
        subprocess.run([python, "-m", "app", "migrate"], cwd=DATABASE, env=os.environ | settings, check=True)
        yield settings
        server.communicate()
