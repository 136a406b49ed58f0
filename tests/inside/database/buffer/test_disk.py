"""The write-behind buffer: what it leaves on disk, and what it does when the disk fails."""

import subprocess
from pathlib import Path

import pytest

from tests.buffer.sink import APP, fill, post, state, sunk
from tests.conftest import Start
from tests.harness import eventually


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
