"""The outbox: what was accepted with 202 is done, whatever happens to the pods."""

import random
import signal
import threading
import time
from collections import Counter

import pytest

from dev.postgres import database, query
from tests.a_server import DURABLE, a_server
from tests.conftest import Start, migrate
from tests.harness import Service, eventually

APP = "tests.apps.promises"


@pytest.fixture
def effects(database: str) -> str:
    query(database, "CREATE TABLE effects (what text, number int)")
    return database


def promise(service: Service, topic: str, number: int = 0, **options: object) -> int:
    words = "&".join(f"{name}={value}" for name, value in options.items())
    with service.connect() as connection:
        return connection.post(f"/promise/{topic}/{number}?{words}", b"").status


def done(url: str, what: str = "written") -> list[int]:
    rows = query(url, f"SELECT number FROM effects WHERE what = '{what}' ORDER BY 1")
    return [int(row[0]) for row in rows]


def messages(url: str) -> list[list[str]]:
    return query(url, "SELECT state, attempts, coalesce(error, '') FROM outbox ORDER BY id")


def all_done(url: str) -> bool:
    return all(state == "done" for state, *_ in messages(url))


def test_a_promise_is_kept_at_once_and_only_if_it_was_committed(serve: Start, effects: str) -> None:
    """At once: not after a poll, which is far away."""
    service = serve(APP, APP_OUTBOX__POLL_SECONDS="3600")
    assert promise(service, "write", 1) == 202
    assert promise(service, "write", 2, refuse=True) == 409
    eventually(lambda: done(effects) == [1], "the handler", timeout=15)
    assert messages(effects) == [["done", "1", ""]]
    service.signal()
    assert service.ended() == 0
    assert done(effects) == [1]


def test_a_delay_is_kept(serve: Start, effects: str) -> None:
    service = serve(APP)
    began = time.monotonic()
    assert promise(service, "write", 1, delay=2) == 202
    eventually(lambda: done(effects) == [1], "the handler")
    assert time.monotonic() - began > 1.9


def test_two_relays_do_everything_once(serve: Start, effects: str) -> None:
    """Messages that no relay is told of, so both look for them all the time."""
    query(
        effects,
        "INSERT INTO outbox (topic, payload) SELECT 'write', json_build_object('number', n) "
        "FROM generate_series(1, 400) AS n",
    )
    services = [serve(APP, APP_OUTBOX__POLL_SECONDS="0.05") for _ in range(2)]
    eventually(lambda: all_done(effects), "all to be done")
    assert done(effects) == list(range(1, 401))
    assert {attempts for _, attempts, _ in messages(effects)} == {"1"}
    for service in services:
        service.signal()
    assert [service.ended() for service in services] == [0, 0]


def test_a_failure_is_repeated_with_pauses_and_undone(serve: Start, effects: str) -> None:
    service = serve(APP)
    began = time.monotonic()
    assert promise(service, "fail", 7, times=2) == 202
    eventually(lambda: all_done(effects), "the third attempt")
    assert time.monotonic() - began > 1.9, "pauses of at least 2/3 of 1 and 2 s"
    assert done(effects, "failed") == [7], "what failed attempts wrote is rolled back"
    assert messages(effects) == [["done", "3", ""]]
    errors = [line["exception"] for line in service.lines("outbox message failed")]
    assert ["attempt 1" in errors[0], "attempt 2" in errors[1]] == [True, True]


@pytest.mark.parametrize("topic", ["fail", "reject"])
def test_what_cannot_be_done_is_dead_until_it_is_requeued(
    serve: Start, effects: str, topic: str
) -> None:
    service = serve(APP, APP_OUTBOX__ATTEMPTS="2")
    assert promise(service, topic, 7, times=3) == 202
    eventually(lambda: messages(effects)[0][0] == "dead", "the last attempt")
    (message,) = messages(effects)
    expected = {
        "fail": ["dead", "2", "LookupError: attempt 2"],
        "reject": ["dead", "1", "Rejected: never"],
    }
    assert message == expected[topic]
    assert service.lines("outbox message is dead", topic=topic)
    eventually(lambda: service.status()["component_status"]["outbox"]["dead"] == 1, "the count")
    assert b'app_outbox_messages{state="dead"} 1' in service.probe("metrics").body
    # As docs/background-work.md has it; here with a payload that works.
    query(
        effects,
        "UPDATE outbox SET state = 'pending', attempts = 0, due_at = now(), finished_at = NULL, "
        "topic = 'write' WHERE state = 'dead'",
    )
    eventually(lambda: all_done(effects), "another attempt")


def test_a_handler_that_takes_too_long_has_failed(serve: Start, effects: str) -> None:
    service = serve(APP, APP_OUTBOX__TIMEOUT_SECONDS="0.5", APP_OUTBOX__ATTEMPTS="1")
    assert promise(service, "slow", 7, seconds=30) == 202
    eventually(lambda: messages(effects)[0][0] == "dead", "the timeout")
    assert messages(effects)[0][2] == "TimeoutError: it took more than 0.5 s"
    assert done(effects, "slow") == []


def test_a_handler_may_be_slower_than_a_statement(serve: Start, effects: str) -> None:
    service = serve(APP, APP_DATABASE__STATEMENT_SECONDS="1")
    assert promise(service, "slow", 7, seconds=3) == 202
    eventually(lambda: all_done(effects), "the handler")
    assert messages(effects) == [["done", "1", ""]]


def test_a_topic_without_a_handler_waits(serve: Start, effects: str) -> None:
    service = serve(APP, APP_OUTBOX__POLL_SECONDS="0.1")
    assert promise(service, "unknown", 1) == 202
    assert promise(service, "write", 2) == 202
    eventually(lambda: done(effects) == [2], "the other")
    assert messages(effects)[0] == ["pending", "0", ""]


def test_a_killed_relay_loses_nothing_and_its_message_is_soon_free(
    serve: Start, effects: str
) -> None:
    first = serve(APP)
    assert promise(first, "slow", 7, seconds=25) == 202
    eventually(lambda: done(effects, "slow begun") == [7], "the handler to begin")
    second = serve(APP, APP_OUTBOX__POLL_SECONDS="0.1")
    time.sleep(2)  # longer than the pause after the first attempt
    assert done(effects, "slow begun") == [7], "it is locked while it runs"
    first.kill()
    killed = time.monotonic()
    eventually(lambda: done(effects, "slow begun") == [7, 7], "the second attempt")
    assert time.monotonic() - killed < 20, "not a lease that is longer than any handler"
    second.kill()  # its lock would hold up the update until its handler is done
    query(effects, "UPDATE outbox SET payload = payload || '{\"seconds\": 0}'")
    third = serve(APP)
    eventually(lambda: all_done(effects), "the third attempt")
    assert done(effects, "slow") == [7]
    third.signal()
    assert third.ended() == 0


def test_a_message_that_kills_its_pod_does_so_with_pauses_and_not_for_ever(
    serve: Start, start: Start, effects: str
) -> None:
    service = serve(APP, APP_OUTBOX__ATTEMPTS="2")
    promise(service, "kill", 7)
    times: list[float] = []
    while len(times) < 2:
        assert service.ended() == -9
        times.append(time.monotonic())
        service = start(APP, APP_OUTBOX__ATTEMPTS="2")
    service.ready()
    eventually(lambda: messages(effects)[0][0] == "dead", "the end")
    assert "such as by a kill" in messages(effects)[0][2]
    assert done(effects, "killed") == [7, 7]
    assert service.process.poll() is None


def test_a_stop_begins_nothing_new_and_finishes_what_runs(serve: Start, effects: str) -> None:
    service = serve(
        APP,
        APP_OUTBOX__CONCURRENCY="1",
        APP_SHUTDOWN__FLOOR_SECONDS="6",  # long enough to begin another while it drains
        APP_SHUTDOWN__GRACE_SECONDS="60",
    )
    assert promise(service, "slow", 1, seconds=3) == 202
    eventually(lambda: done(effects, "slow begun") == [1], "the first to begin")
    assert promise(service, "write", 2) == 202
    service.signal()
    assert service.ended() == 0
    assert done(effects, "slow") == [1]
    assert messages(effects) == [["done", "1", ""], ["pending", "0", ""]]
    serve(APP)
    eventually(lambda: done(effects) == [2], "another pod to do the rest")


def test_what_exceeds_the_budget_is_undone_and_left_to_others(serve: Start, effects: str) -> None:
    service = serve(APP, STOP_TIMEOUT="1")
    assert promise(service, "slow", 1, seconds=25) == 202
    eventually(lambda: done(effects, "slow begun") == [1], "the first to begin")
    service.signal()
    assert service.ended() == 1
    assert "component outbox" in service.report["cut"]
    assert done(effects, "slow") == []
    assert messages(effects) == [["pending", "1", ""]]
    query(effects, "UPDATE outbox SET payload = payload || '{\"seconds\": 0}'")
    serve(APP)
    eventually(lambda: done(effects, "slow") == [1], "another pod to do it")


def test_a_database_that_crashes_under_a_handler_and_comes_back(serve: Start) -> None:
    with a_server(*DURABLE) as server, database(server.url) as url:
        migrate(url)
        query(url, "CREATE TABLE effects (what text, number int)")
        service = serve(APP, APP_DATABASE__URL=url)
        assert promise(service, "slow", 1, seconds=3) == 202
        assert promise(service, "write", 2, delay=2) == 202
        eventually(lambda: done(url, "slow begun") == [1], "the first to begin")
        server.stop(signal.SIGQUIT)
        service.logged("outbox cannot be read")
        server.start()
        service.logged("outbox can be read again")
        eventually(lambda: all_done(url), "both")
        assert (done(url, "slow"), done(url)) == ([1], [2])
        assert len(service.lines("outbox cannot be read")) == 1
        service.signal()
        assert service.ended() == 0


def test_old_messages_are_deleted(serve: Start, effects: str) -> None:
    from app.work import relay

    assert relay.CLEAN >= 30
    query(
        effects,
        "INSERT INTO outbox (topic, payload, state, finished_at) SELECT 'write', '{}', s, "
        "now() - make_interval(hours => h) FROM unnest('{done,dead}'::text[]) s, "
        "unnest('{1,25}'::int[]) h, generate_series(1, 1500)",
    )
    serve(APP, CLEAN_SECONDS="1")
    counted = "SELECT state, count(*) FROM outbox GROUP BY 1 ORDER BY 1"
    expected = [["dead", "3000"], ["done", "1500"]]
    eventually(lambda: query(effects, counted) == expected, "the clean-up")


@pytest.mark.slow
def test_under_load_and_kills_everything_accepted_is_done(serve: Start, effects: str) -> None:
    """Clients write through two services that are killed and replaced; count afterwards."""
    settings = {"APP_OUTBOX__POLL_SECONDS": "0.2"}
    services = [serve(APP, **settings), serve(APP, **settings)]
    accepted: list[int] = []
    stop = threading.Event()
    numbers = iter(range(1_000_000))

    def write() -> None:
        while not stop.is_set():
            number = next(numbers)
            try:
                if promise(random.choice(services), "write", number) == 202:
                    accepted.append(number)
            except (OSError, AssertionError, ValueError, IndexError):
                time.sleep(0.05)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for round_ in range(3):
        time.sleep(1.5)
        victim = round_ % 2
        services[victim].kill()
        services[victim] = serve(APP, **settings)
    stop.set()
    for writer in writers:
        writer.join()
    eventually(lambda: all_done(effects), "all to be done")
    counts = Counter(done(effects))
    print(f"{len(accepted)} accepted, {len(counts)} done")
    assert len(accepted) > 50
    assert set(accepted) <= set(counts), "every 202 is done"
    assert set(counts.values()) == {1}, "once, as its effect is in the same transaction"
