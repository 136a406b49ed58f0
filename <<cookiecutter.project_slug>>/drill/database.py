"""The database of a rehearsal: one of its own on this machine, with the newest schema."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dev import postgres
from drill.errors import DrillError
from drill.plan import Plan

#: The variable that names it.
URL = "APP_DATABASE__URL"


@contextlib.contextmanager
def provided(plan: Plan) -> Iterator[Plan]:
    """Yield ``plan`` with a database for its pods, unless ``--env`` names one.

    Raises DrillError if there is no PostgreSQL on this machine, or no revision can be applied.
    """
    if URL in plan.environment:
        yield plan
        return
    try:
        with postgres.server() as server, postgres.database(server) as url:
            migrate(url)
            yield replace(plan, environment={**plan.environment, URL: url})
    except postgres.PostgresError as error:
        raise DrillError(str(error)) from None


def migrate(url: str) -> None:
    """Upgrade the database at ``url``. Raises DrillError."""
    environment: Mapping[str, str] = {**os.environ, URL: url}
    command = [sys.executable, "-m", "app", "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise DrillError(f"the database could not be migrated: {done.stderr.strip()}")
