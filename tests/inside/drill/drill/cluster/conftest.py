"""A cluster for each test that asks for one. All of them need the package `kubernetes`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.drill.cluster.standin import Run, Test

SECONDS = 180


@pytest.fixture
def on_standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Run":
    """Runs a coroutine with a cluster that is the current context, and has no kube-proxy."""
    from drill.cluster import acts, cluster
    from tests.drill.cluster.standin import standin

    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(cluster, "CLIENTS_SECONDS", 0.2)
    monkeypatch.setattr(acts, "RETRY_SECONDS", 0.05)

    def run(test: "Test") -> None:
        async def bounded() -> None:
            async with asyncio.timeout(SECONDS), standin(tmp_path) as there:
                await test(there)

        asyncio.run(bounded())

    return run
