"""The limit, its priorities and its queue, by a clock of the test's own."""

from typing import Any

import pytest

from app.lifecycle.http.admission import (
    ADMITTED,
    DEADLINE,
    DISPLACED,
    FULL,
    GONE,
    TIMEOUT,
    Admission,
    Priority,
    Waiter,
)

LOW, NORMAL, HIGH = Priority


class Queue:
    """An admission with the verdicts on its waiters."""

    def __init__(self, limit: int = 1, queue: int = 3, reserved: float = 0.0) -> None:
        self.admission = Admission(limit, queue=queue, patience=1.0, reserved=reserved)
        self.verdicts: dict[str, str] = {}
        self.waiters: dict[str, Waiter] = {}

    def run(self, key: str, priority: Priority = NORMAL) -> bool:
        return self.admission.admit(key, priority, 0.0)

    def wait(self, key: str, priority: Priority = NORMAL, now: float = 0.0, **more: Any) -> str:
        def decide(verdict: str) -> None:
            assert key not in self.verdicts, "decided twice"
            self.verdicts[key] = verdict

        self.waiters[key] = Waiter(key, priority, decide, **more)
        return self.admission.wait(self.waiters[key], now)


def test_no_more_than_the_limit_run() -> None:
    queue = Queue(limit=2)
    assert [queue.run(key) for key in "abc"] == [True, True, False]
    assert queue.admission.release("a", 3.0) == 3.0
    assert queue.admission.release("a", 4.0) is None
    assert queue.run("c")


def test_the_newest_waiter_is_served_first() -> None:
    queue = Queue()
    queue.run("first")
    assert [queue.wait(key) for key in "abc"] == [ADMITTED] * 3
    queue.admission.release("first", 0.1)
    assert queue.verdicts == {"c": ADMITTED}
    queue.admission.release("c", 0.2)
    assert queue.verdicts == {"c": ADMITTED, "b": ADMITTED}
    assert queue.admission.queued == 1


def test_a_higher_class_is_served_first() -> None:
    queue = Queue()
    queue.run("first")
    queue.wait("high", HIGH)
    queue.wait("low", LOW)
    queue.admission.release("first", 0.1)
    assert queue.verdicts == {"high": ADMITTED}


def test_a_full_queue_sheds_the_new_one_or_the_oldest_of_a_lower_class() -> None:
    queue = Queue(queue=2)
    queue.run("first")
    queue.wait("old", LOW)
    queue.wait("new", LOW)
    assert queue.wait("low", LOW) == FULL
    assert queue.wait("normal", NORMAL) == ADMITTED
    assert queue.verdicts == {"old": DISPLACED}
    assert queue.admission.queued == 2


@pytest.mark.parametrize("priority", Priority)
def test_without_a_queue_nobody_waits(priority: Priority) -> None:
    queue = Queue(queue=0)
    queue.run("first")
    assert queue.wait("second", priority) == FULL


def test_waiters_are_dropped_when_their_time_is_over() -> None:
    queue = Queue()
    queue.run("first")
    queue.wait("a", now=0.0)
    queue.wait("b", now=0.5)
    queue.admission.expire(0.9)
    assert queue.verdicts == {}
    queue.admission.expire(1.0)
    assert queue.verdicts == {"a": TIMEOUT}
    queue.admission.release("first", 1.5)
    assert queue.verdicts == {"a": TIMEOUT, "b": TIMEOUT}
    assert (queue.admission.queued, queue.admission.running) == (0, {})


def test_a_deadline_that_cannot_be_met() -> None:
    queue = Queue()
    queue.admission.typical = 0.3
    queue.run("first")
    assert queue.wait("hopeless", deadline=0.3) == DEADLINE
    assert queue.wait("tight", deadline=0.8) == ADMITTED
    queue.admission.expire(0.4)
    assert queue.verdicts == {}
    queue.admission.release("first", 0.6)
    assert queue.verdicts == {"tight": DEADLINE}


def test_a_client_that_left_takes_no_slot() -> None:
    queue = Queue()
    queue.run("first")
    queue.wait("stays")
    queue.wait("left", gone=lambda: True)
    queue.admission.release("first", 0.1)
    assert queue.verdicts == {"left": GONE, "stays": ADMITTED}
    assert list(queue.admission.running) == ["stays"]


def test_one_that_is_cancelled_leaves_the_queue() -> None:
    queue = Queue()
    queue.run("first")
    queue.wait("a")
    queue.admission.leave(queue.waiters["a"])
    queue.admission.leave(queue.waiters["a"])
    assert queue.admission.queued == 0


def test_lower_classes_leave_a_share_to_higher_ones() -> None:
    queue = Queue(limit=10, reserved=0.2)
    assert sum(queue.run(f"low {n}", LOW) for n in range(20)) == 8
    assert sum(queue.run(f"normal {n}", NORMAL) for n in range(20)) == 1
    assert sum(queue.run(f"high {n}", HIGH) for n in range(20)) == 1


def test_each_class_has_a_slot() -> None:
    queue = Queue(limit=1, reserved=0.9)
    assert queue.run("low", LOW)


def test_a_higher_limit_serves_those_who_wait() -> None:
    queue = Queue(limit=1)
    queue.run("first")
    queue.wait("second")
    queue.admission.resize(2, 0.1)
    assert queue.verdicts == {"second": ADMITTED}
