"""A container: what it inherits, what it is told, and where its volumes are."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from drill.local.containers import Container
from drill.local.machine import Processes
from tests.drill.local.support import python, record_in, rendered
from tests.drill.support import in_loop

TELL = """
import json, os, sys
print(json.dumps({"environment": dict(os.environ), "arguments": sys.argv[1:]}))
"""
MOUNTS = [{"name": "run", "mountPath": "/run/app"}, {"name": "tmp", "mountPath": "/tmp"}]


def told(folder: Path, over: dict[str, str] | None = None, **container: Any) -> Any:
    """What the program of a container is told."""
    record = record_in(folder, node="node-2")

    async def run() -> None:
        async with Processes() as processes:
            volumes = folder / "volumes"
            one = Container(
                rendered(**container, command=["python", "-c", TELL]),
                record,
                volumes,
                processes,
                over or {},
            )
            assert await (await one.start()).wait() == 0

    in_loop(run())
    return json.loads(record.log.read_text())


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_paths_in_volumes_are_folders_of_the_pods_own(tmp_path: Path) -> None:
    env = [
        {"name": "SOCKET", "value": "/run/app/control.sock"},
        {"name": "FOLDER", "value": "/tmp"},
        {"name": "OTHER", "value": "/run/apple"},
    ]
    said = told(tmp_path, env=env, volumeMounts=MOUNTS, args=["/run/app/x", "--in=/run/app"])
    volumes = tmp_path / "volumes"
    assert said["environment"]["SOCKET"] == f"{volumes}/run/control.sock"
    assert said["environment"]["FOLDER"] == said["environment"]["TMPDIR"] == f"{volumes}/tmp"
    assert said["environment"]["OTHER"] == "/run/apple"
    assert said["arguments"] == [f"{volumes}/run/x", "--in=/run/app"]
    assert (volumes / "run").stat().st_mode & 0o777 == 0o700


def test_variables_in_a_command_are_expanded(tmp_path: Path) -> None:
    env = [{"name": "COLOUR", "value": "green"}]
    said = told(tmp_path, env=env, args=["$(COLOUR)!", "$$(COLOUR)", "$(NOT_THERE)"])
    assert said["arguments"] == ["green!", "$(COLOUR)", "$(NOT_THERE)"]


def test_a_pod_knows_itself_by_the_downward_api(tmp_path: Path) -> None:
    paths = {
        "NAME": "metadata.name",
        "NAMESPACE": "metadata.namespace",
        "LABEL": "metadata.labels['app']",
        "IP": "status.podIP",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
    }
    said = told(tmp_path, env=[field(name, path) for name, path in paths.items()])["environment"]
    assert {name: said[name] for name in paths} == {
        "NAME": "a1",
        "NAMESPACE": "prod",
        "LABEL": "web",
        "IP": "127.0.0.1",
        "NODE": "node-2",
        "ACCOUNT": "web-account",
    }


def test_the_callers_variables_do_not_reach_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_PORT", "1")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    said = told(tmp_path)["environment"]
    assert not {"APP_PORT", "KUBERNETES_SERVICE_HOST"} & set(said)


def test_the_plans_variables_win_over_the_charts_but_not_over_the_pods_address(
    tmp_path: Path,
) -> None:
    env = [{"name": "APP_HOST", "value": "::"}, {"name": "APP_LOG__LEVEL", "value": "info"}]
    said = told(tmp_path, {"APP_LOG__LEVEL": "debug", "APP_HOST": "0.0.0.0"}, env=env)
    assert said["environment"]["APP_LOG__LEVEL"] == "debug"
    assert said["environment"]["APP_HOST"] == "127.0.0.1"


def test_the_images_init_is_left_out(tmp_path: Path) -> None:
    """The machine of the drill need not have it."""
    record = record_in(tmp_path)

    async def run() -> None:
        async with Processes() as processes:
            command = ["/usr/bin/tini", "-s", "--", "python", "-c", "print('--')"]
            one = Container(rendered(command=command), record, tmp_path / "v", processes, {})
            assert await (await one.start()).wait() == 0

    in_loop(run())
    assert record.log.read_text() == "--\n"


def test_python_is_this_interpreter(tmp_path: Path) -> None:
    record = record_in(tmp_path)

    async def run() -> None:
        async with Processes() as processes:
            manifest = rendered(command=["python", "-c", "import sys; print(sys.prefix)"])
            one = Container(manifest, record, tmp_path, processes, {})
            assert await (await one.start()).wait() == 0

    in_loop(run())
    assert record.log.read_text().strip() == sys.prefix


def test_what_is_run_beside_it_has_a_log_of_its_own(tmp_path: Path) -> None:
    record = record_in(tmp_path)

    async def run() -> None:
        async with Processes() as processes:
            one = Container(rendered(), record, tmp_path, processes, {})
            process = await one.exec(python("print('hook')"))
            assert process is not None
            await process.wait()
            assert await one.exec(["there-is-no-such-program"]) is None

    in_loop(run())
    assert not record.log.exists()
    assert (tmp_path / "a1.exec.log").read_text() == "hook\n"
