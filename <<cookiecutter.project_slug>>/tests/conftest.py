"""Services under test, gone when the test is over."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.harness import Service, running

Start = Callable[..., Service]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process: ``start("app of tests/apps", APP_NAME="value")``; do not wait for it."""
    with contextlib.ExitStack() as stack:
        yield lambda app="", **settings: stack.enter_context(running(app, **settings))


@pytest.fixture
def serve(start: Start) -> Start:
    """Start a process and wait until it is ready."""
    return lambda app="", **settings: start(app, **settings).ready()


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith(("APP_", "KUBERNETES_", "POD_", "NODE_NAME")):
            monkeypatch.delenv(name)
    return monkeypatch
