"""Pods that contend, and the API at which they do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.leader_election.contenders import Contenders
from tests.leader_election.lease_server import LeaseServer, lease_server


@pytest.fixture
def server() -> Iterator[LeaseServer]:
    with lease_server() as server:
        yield server


@pytest.fixture
def pods(start: Start, tmp_path: Path, server: LeaseServer) -> Contenders:
    return Contenders(start, tmp_path, server)
