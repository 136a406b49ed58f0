"""The write-behind buffer: what it promises when the sink or the process fails."""

import contextlib
import threading
import time
from pathlib import Path

import pytest

from tests.buffer.sink import APP, post, state, sunk
from tests.conftest import Start
from tests.harness import eventually
from tests.wire import Connection


def test_items_arrive_in_batches_and_all_at_a_stop(serve: Start, table: str, folder: Path) -> None:
    service = serve(APP, FOLDER=str(folder), INTERVAL="20", BATCH="100")
    assert post(service, "/many/250") == 202
    assert post(service, "/thread/250") == 202
    eventually(lambda: len(sunk(table)) == 200, "the two full batches")
    assert state(service)["in_memory"] == 51
    service.signal()
    assert service.ended() == 0
    assert sorted(sunk(table)) == list(range(251))
    assert list(folder.glob("*.batch*")) == [], "a sink that is well needs no disk"
    assert "items of the buffer" not in service.stdout


def test_half_the_interval_is_the_longest_that_an_item_waits(
    serve: Start, table: str, folder: Path
) -> None:
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.4")
    assert post(service, "/items/1") == 202
    eventually(lambda: sunk(table) == [1], "the item", timeout=10)
    assert service.process.poll() is None


def test_metrics_and_status(serve: Start, table: str, folder: Path) -> None:
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.2", SINK="fail")
    assert post(service, "/many/3") == 202
    eventually(lambda: state(service)["on_disk"] == 3, "all on disk")
    found = service.probe("metrics").body.decode()
    assert found.count("# TYPE app_buffer_items gauge") == 1, "of two buffers"
    samples = dict(line.rsplit(" ", 1) for line in found.splitlines() if "app_buffer" in line)
    assert samples['app_buffer_items{buffer="events",place="disk"}'] == "3"
    assert samples['app_buffer_items{buffer="audit",place="disk"}'] == "0"
    assert samples['app_buffer_items_total{buffer="events",outcome="spilled"}'] == "3"
    assert float(samples['app_buffer_oldest_seconds{buffer="events"}']) > 0.1
    assert int(samples['app_buffer_flush_failures_total{buffer="events"}']) > 0
    assert service.status()["component_status"]["events"]["on_disk"] == 3


@pytest.mark.parametrize("when", ["in a flush", "while the sink is down", "between flushes"])
def test_a_kill_loses_no_more_than_one_interval(
    serve: Start, table: str, folder: Path, when: str
) -> None:
    """The oldest item that is lost was accepted less than an interval before the kill."""
    interval = 2.0
    slow = "0.6" if when == "in a flush" else "0"
    settings = {"FOLDER": str(folder), "INTERVAL": str(interval), "COMMIT_SECONDS": slow}
    sink = "fail" if when == "while the sink is down" else ""
    service = serve(APP, SINK=sink, **settings)
    accepted: dict[int, float] = {}
    killed = threading.Event()

    def write() -> None:
        with (
            contextlib.suppress(OSError, AssertionError, ValueError, IndexError),
            Connection("127.0.0.1", service.port) as connection,
        ):
            for number in range(100_000):
                if killed.is_set() or connection.post(f"/items/{number}", b"").status != 202:
                    return
                accepted[number] = time.monotonic()
                time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(interval * 2.6)
    at = time.monotonic()
    service.kill()
    killed.set()
    writer.join()
    again = serve(APP, **{**settings, "COMMIT_SECONDS": "0"})
    eventually(lambda: state(again)["on_disk"] == 0, "the replay")
    again.signal()
    assert again.ended() == 0
    found = sunk(table)
    assert len(set(found)) == len(found), "an id makes a second flush harmless"
    lost = sorted(set(accepted) - set(found))
    ages = [at - accepted[number] for number in lost]
    assert len(accepted) > 100
    assert max(ages, default=0) < interval, f"{len(lost)} of {len(accepted)} lost"
    print(f"{len(lost)} of {len(accepted)} lost, the oldest {max(ages, default=0):.2f} s old")


def test_a_sink_that_comes_back_gets_everything(serve: Start, table: str, folder: Path) -> None:
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.2", SINK="fail")
    for number in range(30):
        assert post(service, f"/items/{number}") == 202
    eventually(lambda: state(service)["on_disk"] == 30, "all on disk")
    assert state(service)["in_memory"] == 0
    assert len(service.lines("buffer cannot flush")) == 1, "said once"
    post(service, "/sink/well")
    eventually(lambda: len(sunk(table)) == 30, "all in the table")
    service.logged("buffer flushes again")
    eventually(lambda: not list(folder.glob("*.batch")), "the files to be gone")
    service.signal()
    assert service.ended() == 0
    assert sorted(sunk(table)) == list(range(30))


def test_a_full_buffer_refuses(serve: Start, table: str, folder: Path) -> None:
    folder.mkdir()
    service = serve(
        APP, FOLDER=str(folder), INTERVAL="30", SINK="hang", SIZE="10", STOP_TIMEOUT="1"
    )
    # More than half of its memory, so the rest is written to disk at once.
    for number in range(9):
        assert post(service, f"/items/{number}") == 202
    assert post(service, "/items/9") == 202
    with service.connect() as connection:
        response = connection.post("/items/10", b"")
    assert response.status == 503
    assert b"buffer events is full" in response.body
    assert state(service)["refused"] == 1
    service.signal()
    assert service.ended() == 1


def test_a_batch_that_always_fails_does_not_stop_the_others(
    serve: Start, table: str, folder: Path
) -> None:
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.2", STOP_TIMEOUT="1")
    assert post(service, "/items/1?poison=true") == 202
    service.logged("buffer cannot flush")
    assert post(service, "/items/2") == 202
    eventually(lambda: sunk(table) == [2], "the other batch")
    service.signal()
    assert service.ended() == 1
    assert service.lines("buffer left items on disk", items=1)


def test_a_rejected_batch_is_set_aside(serve: Start, table: str, folder: Path) -> None:
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.2")
    assert post(service, "/items/1?bad=true") == 202
    line = service.logged("batch set aside")
    assert line["reason"] == "rejected: a bad item"
    assert post(service, "/items/2") == 202
    eventually(lambda: sunk(table) == [2], "the next item")
    assert state(service)["set_aside"] == 1
    service.signal()
    assert service.ended() == 0
    (aside,) = folder.glob("*.batch*")
    assert aside.name.endswith(".batch.rejected")
    assert '{"number":1,"bad":true}' in aside.read_text()


def test_what_is_no_json_is_refused_at_once() -> None:
    from app.work.buffer import Batch, Buffer

    async def flush(_: Batch) -> None: ...

    buffer = Buffer("events", flush, Path("unused"))
    with pytest.raises(TypeError):
        buffer.put({"when": object()})
    with pytest.raises(ValueError, match="JSON"):
        buffer.put(float("nan"))
    with pytest.raises(ValueError, match="interval"):
        Buffer("events", flush, Path("unused"), interval=0)
