"""Each act of a scenario, and what is recorded of it."""

import asyncio
import json

import pytest

pytest.importorskip("kubernetes", reason="the package `kubernetes` is not installed")

from drill.cluster.cluster import KubernetesCluster
from drill.record import PodRecord
from drill.scenarios.base import restart
from drill.scenarios.updates import never_ready
from tests.drill.cluster import controllers
from tests.drill.cluster.apiserver import Fault
from tests.drill.cluster.standin import Run, Standin


def history(cluster: KubernetesCluster, pod: PodRecord) -> list[str]:
    events = [event for event in cluster.timeline.events if event.pod == pod.name]
    return [event.what for event in events]


def test_a_rolling_update_under_load_is_recorded(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            old = list(cluster.pods())
            await cluster.start_load()
            await cluster.update(restart)
            assert not cluster.is_rolled_out()
            await cluster.rolled_out()
            assert cluster.is_rolled_out()
            await cluster.settled()
            result = await cluster.stop_load()
        assert [pod.revision for pod in cluster.records] == [1, 1, 2, 2]
        lives = ["started", "ready", "deleted", "exited", "unready", "gone"]
        assert [history(cluster, pod) for pod in old] == [lives, lives]
        assert all(pod.exit_code == 0 and pod.address and pod.node for pod in old)
        logged = [json.loads(line)["event"] for line in old[0].log.read_text().splitlines()]
        assert logged == ["phase", "stopped"]

        states = [c.endpoint for c in cluster.changes if c.pod == old[0].name]
        assert [s and (s.ready, s.serving, s.terminating) for s in states] == [
            (False, False, False),
            (True, True, False),
            (False, True, True),
            (False, False, True),
            None,
        ]
        ended = cluster.timeline.now()
        assert len(result.ledger.samples) > 20
        assert all(0 < s.began <= s.ended < ended for s in result.ledger.samples)
        assert not any(sample.lost for sample in result.ledger.samples)
        assert {job.id for job in result.ledger.jobs} == {"job-1"}
        assert sum(result.ledger.streams_left_open.values()) == 1
        assert not standin.left()

    on_standin(test)


def test_a_kubelet_that_is_late_skips_no_step_of_a_pod(
    on_standin: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in ("STARTED", "READY", "STOPPED", "GONE"):  # each is due at the kubelet's next look
        monkeypatch.setattr(controllers, step, 0.0)

    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            pods = list(cluster.pods())
            await cluster.scale(1)
            await cluster.settled()
            lives = ["started", "ready", "deleted", "exited", "unready", "gone"]
            assert sorted(history(cluster, pod) for pod in pods) == [lives[:2], lives]

    on_standin(test)


def test_controllers_that_fail_end_the_test_with_their_error(
    on_standin: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(standin: Standin) -> None:
        def fail(*_: object) -> None:
            raise LookupError("a mistake in the stand-in")

        monkeypatch.setattr(standin.store, "all", fail)
        await asyncio.Event().wait()

    with pytest.raises(LookupError, match="a mistake in the stand-in"):
        on_standin(test)


def test_a_release_that_is_rolled_back_has_a_revision_of_its_own(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            await cluster.update(never_ready)
            await cluster._scene.tracker.until(lambda: len(cluster.records) == 3, 60, "no new pod")
            assert not cluster.is_rolled_out()
            await cluster.roll_back()
            await cluster.rolled_out()
            await cluster.settled()
            assert [pod.revision for pod in cluster.pods()] == [1, 1]
            await cluster.scale(3)
            await cluster.settled()
            assert [pod.revision for pod in cluster.pods()] == [1, 1, 3]

    on_standin(test)


def test_a_scale_down_leaves_so_many_pods(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open(replicas=3) as cluster:
            await cluster.scale(1)
            await cluster.settled()
            assert len(cluster.pods()) == 1

    on_standin(test)


def test_a_killed_container_starts_again_in_its_pod(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            pod = cluster.pods()[0]
            await cluster.crash(pod)
            await cluster.settled()
            killed = ["SIGKILL", "exited", "restarting", "started", "unready", "ready"]
            assert history(cluster, pod) == ["started", "ready", *killed]
            assert (pod.exit_code, pod.restarts) == (137, 1)
        assert not standin.left()

    on_standin(test)


def test_a_pod_is_deleted_with_a_grace_period_of_its_own(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            pod, other = cluster.pods()
            await cluster.delete(pod, 3)
            assert pod not in cluster.pods()  # its replacement may be there already
            assert other in cluster.pods()
            await cluster.settled()
            assert history(cluster, pod)[2:] == ["deleted", "exited", "unready", "gone"]
            assert (pod.grace, other.grace) == (3, None)
            assert len(cluster.pods()) == 2
            gone = cluster.pods()[1]
        assert not standin.left()
        assert gone.grace != 3

    on_standin(test)


def test_an_evicted_pod_is_deleted_by_nobody_and_replaced(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            pod = cluster.pods()[0]
            await cluster.evict(pod)
            await cluster.settled()
            gone = ["evicted", "unready", "exited", "gone"]
            assert history(cluster, pod) == ["started", "ready", *gone]
            assert len(cluster.pods()) == 2
            endpoints = [c.endpoint for c in cluster.changes if c.pod == pod.name]
            assert not any(endpoint and endpoint.terminating for endpoint in endpoints)
        assert not standin.left()

    on_standin(test)


def test_a_node_is_drained_as_the_budget_allows_and_opened_again(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        refused = Fault("POST", "/eviction", 429, times=3)
        standin.server.faults.append(refused)
        async with standin.open() as cluster:
            pod = cluster.pods()[0]
            await cluster.drain(pod.node)
            assert refused.times == 0
            assert pod.name not in [other.name for other in cluster.pods()]
            await cluster.settled()
            assert pod.node not in [other.node for other in cluster.pods()]
            node = standin.store.objects[f"/api/v1/nodes/{pod.node}"]
            assert node["spec"] == {"unschedulable": True}
        assert standin.store.objects[f"/api/v1/nodes/{pod.node}"]["spec"] == {}

    on_standin(test)


def test_the_only_node_is_not_closed(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        standin.controllers.nodes = ("node-1",)
        del standin.store.objects["/api/v1/nodes/node-2"]
        async with standin.open() as cluster:
            await cluster.drain("node-1")
            await cluster.settled()
            assert cluster.timeline.first("not cordoned") is not None
            assert len(cluster.records) == 4

    on_standin(test)


def test_a_get_reaches_the_pod_by_way_of_the_api_server(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as cluster:
            pod = cluster.pods()[0]
            assert await cluster.get(pod, "/block?seconds=4") == 200
            path = f"/api/v1/namespaces/default/pods/{pod.name}:8080/proxy/block"
            assert standin.server.requests[-1] == f"GET {path}"
            standin.server.proxied = 503
            assert await cluster.get(pod, "/hello") == 503
            standin.server.faults.append(Fault("GET", "/proxy/", 0))
            assert await cluster.get(pod, "/hello") == 0

    on_standin(test)


def test_a_release_that_is_there_is_left_as_it_was(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.open() as there:
            name = there.workload.name
            path = f"/apis/apps/v1/namespaces/default/deployments/{name}"
            before = standin.store.objects[path]["spec"]
            plan = standin.plan(replicas=3, environment={"EXAMPLES_FAULTS": "true"})
            async with standin.backend(release=name).open(plan) as cluster:
                await cluster.update(restart)
                await cluster.rolled_out()
                container = standin.store.objects[path]["spec"]["template"]["spec"]["containers"][0]
                assert {"name": "EXAMPLES_FAULTS", "value": "true"} in container["env"]
                assert standin.store.objects[path]["spec"]["replicas"] == 3
            assert standin.store.objects[path]["spec"] == before
            while len(there.pods()) != 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    on_standin(test)
