"""Places: an address for each pod, or ports where there is one address only."""

from itertools import islice

import pytest

from drill.errors import DrillError
from drill.local import machine
from drill.local.machine import is_free, places


def test_every_pod_gets_a_place_of_its_own() -> None:
    found = list(islice(places(), 6))
    listeners = {(p.host, port) for p in found for port in (p.port, p.management_port)}
    assert len(listeners) == 12
    assert len({p.host for p in found}) in (1, 6)
    assert all(is_free(p.host, p.port, p.management_port) for p in found)


def test_with_one_address_every_pod_gets_ports_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    free = machine.is_free
    monkeypatch.setattr(machine, "is_free", lambda h, *p: h == "127.0.0.1" and free(h, *p))
    found = list(islice(places(), 6))
    assert {p.host for p in found} == {"127.0.0.1"}
    assert len({port for p in found for port in (p.port, p.management_port)}) == 12


def test_no_place_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_free", lambda host, *ports: False)
    with pytest.raises(DrillError, match="no free ports"):
        next(places())
