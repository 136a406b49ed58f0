"""The adaptive limit, by a clock and a model of a service."""

import pytest

from app.lifecycle.http.gradient import TRUSTED, Gradient


class Model:
    """A service that does ``capacity`` requests at a time, with more clients than it can serve."""

    def __init__(self, capacity: int, seconds: float = 0.05, most: int = 200) -> None:
        self.now = 1000.0
        self.capacity, self.seconds, self.offered = capacity, seconds, 10_000
        self.gradient = Gradient(4, most, self.now)
        self.limits: list[int] = []

    def latency(self, running: int) -> float:
        return self.seconds * max(1.0, running / self.capacity)

    def run(self, seconds: float) -> int:
        """The limit after ``seconds``; requests of a round end together."""
        end = self.now + seconds
        while self.now < end:
            running = min(self.offered, self.gradient.limit)
            took = self.latency(running)
            self.now += took
            for _ in range(running):
                self.gradient.record(took, running, self.now)
            self.limits.append(self.gradient.limit)
        return self.gradient.limit


def test_it_stays_near_the_capacity_under_overload() -> None:
    model = Model(capacity=20)
    assert 20 <= model.run(30) <= 60
    # Three times the latency of the unloaded service at the most.
    assert max(model.limits) <= 60


def test_it_does_not_get_used_to_an_overload_that_lasts() -> None:
    model = Model(capacity=20)
    model.run(30)
    assert 20 <= model.run(10 * TRUSTED) <= 60


def test_it_rises_to_the_most_where_nothing_slows_down() -> None:
    assert Model(capacity=10_000, most=100).run(60) == 100


def test_it_falls_when_the_service_slows_down_and_rises_again() -> None:
    model = Model(capacity=50)
    before = model.run(30)
    model.capacity = 10
    slowed = model.run(30)
    assert slowed <= 30 < before
    model.capacity = 50
    assert model.run(30) >= 50


def test_without_load_it_stays_and_the_latency_is_measured_for_free() -> None:
    model = Model(capacity=20)
    before = model.run(30)
    model.offered = 3
    model.seconds = 0.2  # a new release of a dependency
    calm = model.run(2 * TRUSTED)
    assert abs(calm - before) <= 2  # the window in progress ends
    assert model.gradient.unloaded == pytest.approx(0.2)
    assert min(model.limits[-100:]) == calm


def test_a_probe_that_gets_no_answers_ends() -> None:
    model = Model(capacity=20)
    before = model.run(30)
    model.now += TRUSTED
    for _ in range(40):  # long requests from before keep the slots
        model.now += 0.1
        model.gradient.record(5.0, before, model.now)
    assert model.gradient.limit >= before // 2


def test_a_service_that_has_become_slower_for_good_gets_its_limit_back() -> None:
    model = Model(capacity=50)
    model.run(30)
    model.seconds *= 4
    assert model.run(20) < 20
    assert model.run(2 * TRUSTED) >= 50
