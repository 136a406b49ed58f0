"""Rolling restarts behind HAProxy, Envoy and nginx, as the documents configure them."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.balancers import Load, balancing, example, printed, program
from tests.harness import HOST, Service, eventually, free_port

pytestmark = pytest.mark.slow


class Pair:
    """Two services that are restarted one after the other."""

    def __init__(self, limit: int, floor: int) -> None:
        self.ports = [free_port(), free_port()]
        self._limit, self._floor = str(limit), str(floor)
        self._all: list[Service] = []
        self.running = [self._start(port) for port in self.ports]
        for service in self.running:
            service.ready()

    def _start(self, port: int) -> Service:
        service = Service(
            APP_PORT=str(port),
            APP_SHUTDOWN__FLOOR_SECONDS=self._floor,
            APP_SHUTDOWN__LIMIT_SECONDS=self._limit,
            APP_SHUTDOWN__QUIET_SECONDS="1",
        )
        self._all.append(service)
        return service

    def asked(self, which: int) -> None:
        """Wait until the balancer sends requests there."""
        eventually(lambda: self.running[which].lines("request"), "the balancer to send requests")

    def stop(self, which: int) -> float:
        """The seconds that a stop took."""
        self.running[which].signal()
        return self.running[which].seconds()

    def start(self, which: int) -> None:
        self.running[which] = self._start(self.ports[which]).ready()

    def close(self) -> None:
        for service in self._all:
            service.kill()
            service.clean_up()


@pytest.fixture
def pair() -> Iterator[Callable[[int, int], Pair]]:
    made: list[Pair] = []

    def make(limit: int, floor: int) -> Pair:
        made.append(Pair(limit, floor))
        return made[-1]

    yield make
    for one in made:
        one.close()


def need(name: str) -> None:
    if program(name) is None:
        pytest.skip(f"{name} is not installed")


Make = Callable[[int, int], Pair]


@pytest.mark.parametrize("name", ["haproxy", "envoy"])
def test_with_health_checks_nothing_is_lost(name: str, pair: Make, tmp_path: Path) -> None:
    need(name)
    services, port = pair(12, 3), free_port()
    text = example(name, port, services.ports)
    with balancing(name, text, port, tmp_path), Load(port) as load:
        for which in (0, 1):
            services.asked(which)
            assert services.stop(which) < 9, "the balancer sent requests until the limit"
            services.start(which)
            services.asked(which)
    assert load.lost == {}
    assert load.sent > 100


@pytest.mark.parametrize("name", ["haproxy", "envoy"])
def test_by_default_the_stopped_one_gets_requests(name: str, pair: Make, tmp_path: Path) -> None:
    need(name)
    services, port = pair(2, 0), free_port()
    text = example(name, port, services.ports)
    text = re.sub(r".*(check inter|option redispatch|option httpchk).*\n", "", text)
    text = re.sub(r" *health_checks:.*?(?= *load_assignment)", "", text, flags=re.DOTALL)
    text = text.replace(", retry_policy: {retry_on: connect-failure}", "")
    assert "check" not in text
    with balancing(name, text, port, tmp_path), Load(port) as load:
        services.asked(0)
        services.stop(0)
        eventually(lambda: load.lost, "lost requests")


def test_nginx_passes_on_what_a_stopped_one_refuses(pair: Make, tmp_path: Path) -> None:
    need("nginx")
    services, port = pair(3, 0), free_port()
    text = example("nginx", port, services.ports)
    with balancing("nginx", text, port, tmp_path), Load(port) as load:
        for which in (0, 1):
            services.asked(which)
            assert services.stop(which) > 2.5, "nginx does not check, so a stop takes the limit"
            services.start(which)
            services.asked(which)
    assert load.lost == {}


def test_nginx_is_told_before_a_stop(pair: Make, tmp_path: Path) -> None:
    need("nginx")
    services, port = pair(12, 0), free_port()
    text = example("nginx", port, services.ports)
    with balancing("nginx", text, port, tmp_path) as config, Load(port) as load:
        for which in (0, 1):
            services.asked(which)
            out, back = (
                command.replace("/etc/nginx/conf.d/web.conf", str(config))
                .replace("10.0.0.11:8080", f"{HOST}:{services.ports[which]}")
                .replace("nginx -s", f"{program('nginx')} -c {config} -s")
                for command in printed("sh", "nginx -s reload").splitlines()
            )
            subprocess.run(out, shell=True, check=True)
            assert services.stop(which) < 9, "nginx sent requests until the limit"
            services.start(which)
            subprocess.run(back, shell=True, check=True)
            services.asked(which)
    assert load.lost == {}
