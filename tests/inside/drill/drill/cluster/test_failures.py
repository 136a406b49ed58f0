"""An API server that refuses, forgets, is busy or breaks off; and a context that is not there."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("kubernetes", reason="the package `kubernetes` is not installed")

from drill.cluster import api, watch
from drill.cluster.cluster import ClusterBackend
from drill.errors import DrillError
from drill.scenarios.base import restart
from tests.drill.cluster.apiserver import Fault
from tests.drill.cluster.standin import Run, Standin, kubeconfig, plan


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (None, "the current context is here: confirm it with --context here."),
        ("there", "--context there is not the current context, which is here"),
    ],
)
def test_a_context_has_to_be_confirmed(
    context: str | None, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig(tmp_path / "config", "http://127.0.0.1:1", "")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(DrillError, match=text):
        ClusterBackend(context)


@pytest.mark.parametrize("content", ["", "contexts: []", "a: [", "current-context: x"])
def test_a_kubeconfig_without_a_context_is_said_to_be_so(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    (tmp_path / "config").write_text(content)
    with pytest.raises(DrillError, match=r"has no current context .* `kubectl config use-context"):
        ClusterBackend("here")


def test_a_kubeconfig_that_is_not_there_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(DrillError, match=r"no kubeconfig found at .*: set KUBECONFIG\."):
        ClusterBackend("here")


def test_a_server_out_of_reach_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PATIENCE_SECONDS", 0.5)
    kubeconfig(tmp_path / "config", "http://127.0.0.1:1", "")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))

    async def enter() -> None:
        async with ClusterBackend("here", release="some").open(plan(80)):
            pass

    with pytest.raises(
        DrillError, match=r"cannot be reached .* `kubectl --context here cluster-info`"
    ):
        asyncio.run(enter())


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_told_with_the_servers_words_and_nothing_is_left(
    status: int, on_standin: Run
) -> None:
    async def test(standin: Standin) -> None:
        standin.server.faults.append(Fault("PATCH", "/deployments/", status))
        standin.server.faults.append(Fault("DELETE", "/deployments/", status))
        with pytest.raises(DrillError, match=f"answered {status}, as the test has it: "):
            async with standin.open():
                pass
        assert not standin.left()
        # It was never made: nobody has to remove it.
        assert not any("not cleaned up" in line for line in standin.said)

    on_standin(test)


def test_a_watch_that_is_refused_ends_the_drill(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        standin.server.faults.append(Fault("GET", "/events", 403))
        with pytest.raises(DrillError, match="answered 403"):
            async with standin.open():
                pass
        assert not standin.left()

    on_standin(test)


def test_a_pod_that_may_not_see_the_nodes_processes_is_no_crash(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            standin.server.faults.append(Fault("PATCH", "-kill-", 403))
            with pytest.raises(
                DrillError, match=r"hostPID, which was refused .* skip this scenario"
            ):
                await cluster.crash(cluster.pods()[0])

    on_standin(test)


@pytest.mark.parametrize(("status", "times"), [(409, 3), (429, 2), (503, 2), (0, 2)])
def test_an_update_that_does_not_get_through_is_made_again_and_once(
    status: int, times: int, on_standin: Run
) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            fault = Fault("PUT", "/deployments/", status, times)
            standin.server.faults.append(fault)
            await cluster.update(restart)
            assert fault.times == 0
            assert restarts(standin) == "1"
            await cluster.rolled_out()

    on_standin(test)


def test_an_update_whose_answer_was_lost_is_not_made_twice(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            standin.server.deaf = 1
            await cluster.update(restart)
            assert restarts(standin) == "1"
            await cluster.rolled_out()
            assert [pod.revision for pod in cluster.records] == [1, 1, 2, 2]

    on_standin(test)


def test_watches_and_logs_that_are_cut_lose_and_double_nothing(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            await cluster.start_load()
            cutting = asyncio.create_task(cut_often(standin))
            await cluster.update(restart)
            await cluster.rolled_out()
            await cluster.settled()
            cutting.cancel()
            result = await cluster.stop_load()
        assert not any(sample.lost for sample in result.ledger.samples)
        for pod in cluster.records:
            events = [event.what for event in cluster.timeline.events if event.pod == pod.name]
            assert events == ["started", "ready", "deleted", "exited", "unready", "gone"]
            assert len(pod.log.read_text().splitlines()) == 2

    on_standin(test)


@pytest.mark.parametrize("how", ["status", "event"])
def test_a_version_that_is_forgotten_is_listed_again(how: str, on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            old = cluster.pods()[0].name
            standin.server.forget(as_event=how == "event")
            path = next(path for path, _ in standin.store.all("pods") if path.endswith(old))
            standin.store.remove(path)  # nobody who watches hears of it
            standin.store.history.pop()
            standin.server.cut()
            await cluster._scene.tracker.until(lambda: len(cluster.records) == 3, 60, "no new pod")
            await cluster.settled()
            assert cluster.timeline.first("gone", old) is not None

    on_standin(test)


def test_a_busy_server_is_asked_again(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        busy = [Fault("GET", "/deployments", 429, 2), Fault("PATCH", "/services/", 503, 2)]
        standin.server.faults += busy
        async with standin.open():
            assert not any(fault.times for fault in busy)

    on_standin(test)


def test_an_image_that_is_not_to_be_had_ends_the_installation_at_once(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        standin.controllers.waits = "ImagePullBackOff"
        with pytest.raises(DrillError, match=r"makes no progress: pod .*: ImagePullBackOff: so"):
            async with standin.open():
                pass
        assert not standin.left()

    on_standin(test)


def test_a_kind_that_the_cluster_does_not_have_is_named(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        open_ = {"monitoring__enabled": "true", "networkPolicy__enabled": "false"}
        values = standin.plan().values.setting(**open_)
        with pytest.raises(DrillError, match=r"has no PodMonitor of monitoring.coreos.com/v1"):
            async with standin.open(values=values):
                pass
        assert not standin.left()

    on_standin(test)


def test_relists_tell_what_no_watch_has_told() -> None:
    def pod(uid: str, version: int) -> dict[str, object]:
        return {"metadata": {"uid": uid, "resourceVersion": str(version)}}

    known = {"a": pod("a", 1), "b": pod("b", 1), "c": pod("c", 1)}
    told = watch.differences(known, [pod("b", 1), pod("c", 2), pod("d", 1)])
    assert [(kind, found["metadata"]["uid"]) for kind, found in told] == [
        ("DELETED", "a"),
        ("MODIFIED", "c"),
        ("ADDED", "d"),
    ]
    assert set(known) == {"b", "c", "d"}


async def cut_often(standin: Standin) -> None:
    while True:
        standin.server.cut()
        await asyncio.sleep(0.3)


def restarts(standin: Standin) -> str:
    _, found = next(standin.store.all("deployments"))
    return str(found["spec"]["template"]["metadata"]["annotations"]["drill/restarted"])
