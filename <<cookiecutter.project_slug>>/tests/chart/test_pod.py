"""The service lives and stops as the chart says: command, environment, probes, preStop."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.chart.helm import Objects, found
#% if cookiecutter.database == "postgresql"
from tests.harness import HOST, PATIENCE, QUICK, clean_environment, end, eventually, free_port
#% else
from tests.harness import HOST, PATIENCE, clean_environment, end, eventually, free_port
#% endif
from tests.wire import Connection


def environment(objects: Objects, folder: Path) -> dict[str, str]:
    """What the container gets, with a control socket that this machine can make."""
    return {
        **clean_environment(),
        **objects.environment,
#% if cookiecutter.database == "postgresql"
        "APP_DATABASE__URL": QUICK["APP_DATABASE__URL"],
#% endif
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "APP_HOST": HOST,
        "APP_CONTROL_SOCKET": str(folder / "control.sock"),
        "APP_KUBERNETES__SERVICES": "",  # there is no API here
    }


def probe(objects: Objects, name: str) -> int:
    rule = objects.container[f"{name}Probe"]["httpGet"]
    ports = {port["name"]: port["containerPort"] for port in objects.container["ports"]}
    try:
        with Connection(HOST, ports[rule["port"]]) as connection:
            return connection.get(rule["path"]).status
    except OSError:
        return 0


def test_a_pod_starts_drains_and_stops(tmp_path: Path) -> None:
    objects = found()[0].render(
        {
            "listen": {"port": free_port(), "managementPort": free_port()},
            "shutdown": {"fallbackSeconds": 0.2, "quietSeconds": 0.2, "limitSeconds": 5},
        }
    )
    command = [*objects.container["command"], *objects.container["args"]]
    if shutil.which(command[0]) is None:  # the image's init
        command = command[command.index("--") + 1 :]
    surroundings = environment(objects, tmp_path)
    service = subprocess.Popen(command, env=surroundings, cwd=tmp_path)
    try:
        eventually(lambda: probe(objects, "startup") == 200, "the startup probe")
#% if cookiecutter.database == "postgresql"
        eventually(lambda: probe(objects, "readiness") == 200, "the readiness probe")
        assert probe(objects, "liveness") == 200
#% else
        assert [probe(objects, name) for name in ("readiness", "liveness")] == [200, 200]
#% endif
        hook = subprocess.run(
            objects.container["lifecycle"]["preStop"]["exec"]["command"],
            env=surroundings,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=objects.pod["terminationGracePeriodSeconds"],
        )
        assert (hook.returncode, hook.stderr) == (0, "")
        assert "nothing was cut off" in hook.stdout
        service.terminate()
        assert service.wait(PATIENCE) == 0
    finally:
        end(service)
