"""The write-behind buffer: what it promises when the sink, the disk or the process fails."""

import asyncio
import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import Start
from tests.harness import Service, eventually
from tests.wire import Connection

APP = "tests.apps.buffered"


def sql(url: str, statement: str) -> list[Any]:
    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(run())


def sunk(url: str) -> list[int]:
    """The numbers that are in the table."""
    return [json.loads(row["item"])["number"] for row in sql(url, "SELECT item FROM sunk")]


def post(service: Service, path: str) -> int:
    with service.connect() as connection:
        return connection.post(path, b"").status


def state(service: Service) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(service.get("/status").body)
    return answer


@pytest.fixture
def table(database: str) -> str:
    sql(database, "CREATE TABLE sunk (batch text, n int, item json, PRIMARY KEY (batch, n))")
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spill"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"cannot mount: {made.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> Path:
    """Use up all of its space; the file to remove for more."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return filler


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


@pytest.mark.parametrize("seconds", ["0.01", "1"])
def test_what_a_stop_cannot_flush_is_on_disk_for_the_next_start(
    serve: Start, table: str, folder: Path, seconds: str
) -> None:
    settings = {"FOLDER": str(folder), "INTERVAL": "30"}
    service = serve(APP, SINK="hang", STOP_TIMEOUT=seconds, **settings)
    assert post(service, "/many/150") == 202
    service.signal()
    assert service.ended() == 1
    assert "component events" in service.report["cut"]
    assert not any("items of the buffer" in one for one in service.report["cut"])
    assert service.lines("buffer left items on disk", items=150)
    assert sunk(table) == []
    again = serve(APP, **settings)
    assert again.lines("buffer found items on disk", items=150)
    eventually(lambda: len(sunk(table)) == 150, "the replay")
    again.signal()
    assert again.ended() == 0
    assert sorted(sunk(table)) == list(range(150))


def test_a_second_signal_still_keeps_everything(serve: Start, table: str, folder: Path) -> None:
    service = serve(APP, FOLDER=str(folder), INTERVAL="30", SINK="hang")
    assert post(service, "/many/150") == 202
    service.signal()
    service.logged("stop", step="tasks ended")
    service.signal()
    assert service.ended() == 1
    assert service.lines("buffer left items on disk", items=150)


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


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version":1,"items":2,"crc32":1}\n"a"\n"b"',
        b'{"version":9,"items":0,"crc32":0}\n',
    ],
    ids=["empty", "truncated header", "wrong checksum", "another format"],
)
def test_a_corrupt_file_is_set_aside(
    serve: Start, table: str, folder: Path, content: bytes
) -> None:
    folder.mkdir()
    name = "01764268535000000000-0123456789ab.batch"
    (folder / name).write_bytes(content)
    (folder / ".unfinished").write_bytes(b"x")
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.2")
    assert service.lines("batch set aside", file=str(folder / f"{name}.corrupt"))
    assert post(service, "/items/1") == 202
    eventually(lambda: sunk(table) == [1], "the item")
    service.signal()
    assert service.ended() == 0
    assert sorted(one.name for one in folder.iterdir()) == [f"{name}.corrupt", "lock"]


def test_a_truncated_batch_does_not_stop_the_others(serve: Start, table: str, folder: Path) -> None:
    service = serve(APP, FOLDER=str(folder), INTERVAL="30", SINK="hang", STOP_TIMEOUT="1")
    assert post(service, "/many/200") == 202
    service.signal()
    assert service.ended() == 1
    first, _ = sorted(folder.glob("*.batch"))
    first.write_bytes(first.read_bytes()[:-5])
    again = serve(APP, FOLDER=str(folder))
    (line,) = again.lines("batch set aside")
    assert "it had 100 items" in line["reason"]
    eventually(lambda: sorted(sunk(table)) == list(range(100, 200)), "the other batch")


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


def test_a_full_disk_is_one_line_and_the_report_counts_what_is_lost(
    serve: Start, table: str, small_disk: Path
) -> None:
    folder = small_disk / "spill"
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.4", SINK="fail", STOP_TIMEOUT="2")
    fill(small_disk)
    for number in range(50):
        assert post(service, f"/items/{number}") == 202
    line = service.logged("buffer cannot write to disk")
    assert line["reason"] == "No space left on device"
    assert line["folder"] == str(folder)
    service.signal()
    assert service.ended() == 1
    assert "50 items of the buffer events" in service.report["cut"]
    assert len(service.lines("buffer cannot write to disk")) == 1
    assert service.lines("buffer lost items", items=50)


def test_a_disk_with_room_again_is_used_again(serve: Start, table: str, small_disk: Path) -> None:
    folder = small_disk / "spill"
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.4", SINK="fail", STOP_TIMEOUT="2")
    filler = fill(small_disk)
    assert post(service, "/items/1") == 202
    service.logged("buffer cannot write to disk")
    filler.unlink()
    eventually(lambda: state(service)["on_disk"] == 1, "the item on disk")
    assert state(service)["disk_fails"] is False


def test_a_folder_that_becomes_read_only(serve: Start, table: str, small_disk: Path) -> None:
    folder = small_disk / "spill"
    service = serve(APP, FOLDER=str(folder), INTERVAL="0.4", SINK="fail", STOP_TIMEOUT="2")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert post(service, "/items/1") == 202
    assert service.logged("buffer cannot write to disk")["reason"] == "Read-only file system"
    service.signal()
    assert service.ended() == 1
    assert "1 items of the buffer events" in service.report["cut"]


def test_a_folder_that_cannot_be_used_is_named(start: Start, table: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = str(tmp_path / "file" / "spill")
    service = start(APP, FOLDER=broken, AUDIT_FOLDER=str(tmp_path / "audit"))
    assert service.ended() == 3
    assert f"{broken} cannot be used to keep items on disk" in service.stderr


def test_two_processes_do_not_share_a_folder(
    serve: Start, start: Start, table: str, folder: Path, tmp_path: Path
) -> None:
    first = serve(APP, FOLDER=str(folder))
    second = start(APP, FOLDER=str(folder), AUDIT_FOLDER=str(tmp_path / "audit"))
    assert second.ended() == 3
    assert f"{folder} is in use by another process" in second.stderr
    first.kill()
    serve(APP, FOLDER=str(folder))


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
