"""Five times the load that a pod can serve: it serves what it can, in time, and recovers."""

import asyncio
import statistics
import time
from dataclasses import dataclass, field

import pytest

from tests.apps.overload import AT_ONCE, SECONDS
from tests.conftest import Start
from tests.harness import HOST, Service, eventually

APP = "tests.apps.overload"
CAPACITY = AT_ONCE / SECONDS  # requests a second
CLIENTS = 50
#: Seconds between two requests of a client.
PACE = CLIENTS / (5 * CAPACITY)
FIXED = {"APP_REQUESTS__MAX_IN_FLIGHT": str(AT_ONCE)}
ADAPTIVE = {"APP_REQUESTS__MAX_IN_FLIGHT": "200", "APP_REQUESTS__IN_FLIGHT_LIMIT": "adaptive"}


@dataclass
class Load:
    """Clients that each send a request every PACE seconds, whatever they get."""

    port: int
    seconds: float
    #: When each response came, its status and how long it took.
    responses: list[tuple[float, int, float]] = field(default_factory=list)
    #: Requests that got no response.
    lost: int = 0
    probes: list[int] = field(default_factory=list)
    #: Set after many responses.
    under_way: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)), self._prober())

    async def _client(self, number: int) -> None:
        end = time.monotonic() + self.seconds
        due = time.monotonic() + PACE * number / CLIENTS
        reader = writer = None
        while (due := max(due + PACE, time.monotonic())) < end:
            await asyncio.sleep(due - time.monotonic())
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(HOST, self.port)
            except OSError:
                return  # the listener is closed: nobody's request
            assert reader is not None
            began = time.monotonic()
            try:
                status, closes = await self._ask(reader, writer, "/work")
            except (OSError, EOFError):
                self.lost += 1
                writer = None
                continue
            now = time.monotonic()
            self.responses.append((now, status, now - began))
            if len(self.responses) > 2 * CAPACITY:
                self.under_way.set()
            if closes:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    async def _prober(self) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            for probe in ("/livez", "/readyz"):
                try:
                    reader, writer = await asyncio.open_connection(HOST, self.port)
                except OSError:
                    return
                self.probes.append((await self._ask(reader, writer, probe))[0])
                writer.close()
            await asyncio.sleep(0.1)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
    ) -> tuple[int, bool]:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return int(head.split()[1]), b"connection: close" in head

    def took(self, status: int) -> list[float]:
        return sorted(took for _, got, took in self.responses if got == status)

    def goodput(self, after: float) -> float:
        """Requests served per second, without the first ``after`` seconds."""
        begin = min(at for at, _, _ in self.responses) + after
        served = sum(at >= begin and status == 200 for at, status, _ in self.responses)
        return served / (max(at for at, _, _ in self.responses) - begin)


def overload(service: Service, seconds: float) -> Load:
    load = Load(service.port, seconds)
    asyncio.run(load.run())
    return load


def percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [FIXED, ADAPTIVE], ids=["fixed", "adaptive"])
def test_five_times_the_load(serve: Start, settings: dict[str, str]) -> None:
    service = serve(APP, **settings, APP_LOG__ACCESS="false")
    load = overload(service, 6)
    served, shed = load.took(200), load.took(503)
    print(
        f"goodput {load.goodput(2):.0f}/s of {CAPACITY:.0f}, p99 {percentile(served, 0.99):.3f} s, "
        f"shed {len(shed)} within {statistics.median(shed):.4f} s, p99 "
        f"{percentile(shed, 0.99):.4f} s, {service.status()['shedding']}"
    )
    assert load.lost == 0
    assert len(served) + len(shed) == len(load.responses)
    assert load.goodput(2) >= 0.9 * CAPACITY
    # Three times the time of the unloaded service, and as much again for a busy machine.
    assert percentile(served, 0.99) < 6 * SECONDS
    assert len(shed) > len(served)
    assert statistics.median(shed) < 0.05
    assert set(load.probes) == {200}

    eventually(lambda: service.status()["shedding"]["running"] == 0, "an idle service", 5)
    with service.connect() as connection:
        assert connection.get("/work").status == 200
    status = service.status()
    assert status["in_flight"] == status["shedding"]["queued"] == 0


@pytest.mark.slow
def test_a_drain_that_begins_under_overload(serve: Start) -> None:
    service = serve(APP, **FIXED, APP_SHUTDOWN__LIMIT_SECONDS="2", APP_LOG__ACCESS="false")

    async def stopped_under_load() -> Load:
        load = Load(service.port, 20)
        running = asyncio.create_task(load.run())
        await load.under_way.wait()
        service.signal()
        await running
        return load

    load = asyncio.run(stopped_under_load())
    assert service.ended() == 0
    assert service.report["requests_cut"] == []
    assert {status for _, status, _ in load.responses} == {200, 503}
    # One that the kernel completes in the microseconds before the listener closes is reset.
    assert load.lost <= 1
    assert 2 <= service.report["seconds"]["draining"] < 6
