"""Chart and service fit: what the one says the other has, tried with the real process."""

import ast
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from app.environment import load
from dev.generate import CHART
from tests.chart.cases import CASES
from tests.chart.helm import PROJECT, Helm, Manifest, Objects, found
#% if cookiecutter.database == "postgresql"
from tests.harness import HOST, QUICK, clean_environment, end, eventually, free_port
#% else
from tests.harness import HOST, clean_environment, end, eventually, free_port
#% endif
from tests.wire import Connection

BEHIND = yaml.safe_load((CHART / "files/behind.yaml").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES)
def test_the_service_takes_every_setting_of_the_chart(
    helm: Helm, case: str, bare_environment: pytest.MonkeyPatch
) -> None:
    for name, value in helm.render(CASES[case]).environment.items():
        bare_environment.setenv(name, value)
    settings = load()
    assert settings.port != settings.management_port


def test_values_arrive_as_they_were_written(helm: Helm) -> None:
    config = {
        "APP_PROBES__UNREADY_SECONDS": 1234.0,
        "APP_LOG__ACCESS": False,
        "APP_HOST": "0.0.0.0",
    }
    environment = helm.render({"config": config}).environment
    assert environment["APP_PROBES__UNREADY_SECONDS"] == "1234"
    assert environment["APP_LOG__ACCESS"] == "false"
    assert environment["APP_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("router", BEHIND)
def test_who_says_who_the_client_is_follows_from_what_is_in_front(
    helm: Helm, router: str, bare_environment: pytest.MonkeyPatch
) -> None:
    for name, value in helm.render({"behind": router}).environment.items():
        bare_environment.setenv(name, value)
    proxy, row = load().proxy, BEHIND[router]
    assert proxy.trusted == ",".join(row["trusted"])
    assert proxy.headers == ",".join(row["headers"])
    # What passes connections on as they are passes headers on too.
    assert bool(proxy.trusted) is (router not in ("service", "aws-nlb"))


def test_typed_proxies_win_over_those_of_the_router(helm: Helm) -> None:
    typed = {"trusted": ["192.0.2.7", "fd00::/8"], "headers": ["proto"], "rootPath": "/api"}
    environment = helm.render({"behind": "aws-alb", "proxy": typed}).environment
    assert environment["APP_PROXY__TRUSTED"] == "192.0.2.7,fd00::/8"
    assert environment["APP_PROXY__HEADERS"] == "proto"
    assert environment["APP_PROXY__ROOT_PATH"] == "/api"
    nobody = helm.render({"behind": "aws-alb", "proxy": {"trusted": []}}).environment
    assert nobody["APP_PROXY__TRUSTED"] == ""


def test_the_chart_is_of_the_version_of_the_service() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    assert chart["appVersion"] == chart["version"] == project["version"]
    assert chart["name"] == project["name"]


def test_the_image_starts_the_same_as_the_chart(helm: Helm) -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text("utf-8")
    entry, arguments = (
        ast.literal_eval(re.findall(rf"^{word} (\[.*\])$", dockerfile, re.MULTILINE)[0])
        for word in ("ENTRYPOINT", "CMD")
    )
    objects = helm.render()
    assert (objects.container["command"], objects.container["args"]) == (entry, arguments)
    assert f"USER {objects.pod['securityContext']['runAsUser']}:" in dockerfile


def program_path() -> dict[str, str]:
    """Where a pod finds `python`: this one, as the image has it, by name."""
    path = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
    return path | {k: v for k, v in clean_environment().items() if k == "PYTHONPATH"}


@dataclass
class Kubelet:
    """Does with a rendered pod what a kubelet would, with one process.

    ``user`` is None where a process of another user cannot be had.
    """

    objects: Objects
    folder: Path
    user: int | None

    def __post_init__(self) -> None:
        self.log = self.folder / "log"
        self.environment = {
            **program_path(),
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.objects.environment,
#% if cookiecutter.database == "postgresql"
            "APP_DATABASE__URL": QUICK["APP_DATABASE__URL"],
#% endif
        }
        if self.user is None:
            self.environment["APP_CONTROL_SOCKET"] = str(self.folder / "control.sock")

    def command(self, command: list[str]) -> list[str]:
        """As the pod's user, on a file system that is read-only but for the volumes."""
        if self.user is None:
            return command
        as_user = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        return ["nsenter", f"--mount={self.folder}/mounts", *as_user, "--no-new-privs", *command]

    def start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self.command(self.main()),
                env=self.environment,
                cwd="/",
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def main(self) -> list[str]:
        """What the container runs, without its init where that is not installed."""
        command = [*self.objects.container["command"], *self.objects.container["args"]]
        return command if shutil.which(command[0]) else command[command.index("--") + 1 :]

    def exec(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(command), env=self.environment, cwd="/", capture_output=True, text=True
        )

    def probe(self, name: str) -> int:
        rule = self.objects.container[f"{name}Probe"]["httpGet"]
        with Connection(HOST, self.port(rule["port"])) as connection:
            return connection.get(rule["path"]).status

    def port(self, name: str) -> int:
        ports = {port["name"]: port["containerPort"] for port in self.objects.container["ports"]}
        return int(ports[name])


@contextlib.contextmanager
def mounts(objects: Objects, folder: Path) -> Iterator[int | None]:
    """A mount namespace like the pod's, and its user; nothing where only root could make one."""
    user = objects.pod["securityContext"]["runAsUser"]
    if os.getuid() != 0 or shutil.which("unshare") is None:
        yield None
        return
    handle = folder / "mounts"
    handle.touch()
    steps = f"""
        mount -t tmpfs tmpfs /run
        mkdir /run/app
        mount -t tmpfs -o mode=2770,gid={user} tmpfs /run/app
        mount -o remount,bind,ro /
    """
    # A namespace can be kept only where mounts do not spread.
    bind = ["mount", "--bind", "--make-private", str(folder), str(folder)]
    bound = subprocess.run(bind, capture_output=True)
    unshare = ["unshare", f"--mount={handle}", "--propagation=private", "sh", "-ec", steps]
    made = subprocess.run(unshare, capture_output=True)
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    # Its home is root's on some machines, and so is then the interpreter.
    tried = subprocess.run(
        [*as_user, "python", "-c", "import app"], cwd="/", env=program_path(), capture_output=True
    )
    try:
        yield user if made.returncode == tried.returncode == 0 else None
    finally:
        # Fails if a process is left that uses it; pytest could not remove the folder then.
        for mounted, done in ((handle, made), (folder, bound)):
            if done.returncode == 0:
                subprocess.run(["umount", mounted], check=True)


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    values = {
        "listen": {"port": free_port(), "managementPort": free_port()},
        "shutdown": {"fallbackSeconds": 0.2, "quietSeconds": 0.2, "limitSeconds": 5},
    }
    objects = found()[0].render(values)
    with mounts(objects, tmp_path) as user:
        yield Kubelet(objects, tmp_path, user)


@pytest.fixture
def service(kubelet: Kubelet) -> "Iterator[subprocess.Popen[bytes]]":
    process = kubelet.start()

    def started() -> bool:
        assert process.poll() is None, kubelet.log.read_text()
        with contextlib.suppress(OSError):
            return kubelet.probe("startup") == 200
        return False

    try:
        eventually(started, "the startup probe")
        yield process
    finally:
        end(process)
        print(kubelet.log.read_text())


def test_a_pod_lives_and_stops_as_rendered(
    kubelet: Kubelet, service: "subprocess.Popen[bytes]"
) -> None:
    eventually(lambda: kubelet.probe("readiness") == 200, "the readiness probe")
    assert [kubelet.probe(name) for name in ("startup", "liveness")] == [200] * 2
    with Connection(HOST, kubelet.port("http")) as connection:
        assert connection.get("/hello").status == 200
    began = time.monotonic()
    hook = kubelet.exec(kubelet.objects.container["lifecycle"]["preStop"]["exec"]["command"])
    assert hook.returncode == 0, hook.stderr
    assert "nothing was cut off" in hook.stdout
    with contextlib.suppress(ProcessLookupError):
        service.send_signal(signal.SIGTERM)
    assert service.wait(60) == 0
    assert time.monotonic() - began < kubelet.objects.pod["terminationGracePeriodSeconds"]


def test_helm_test_asks_the_service(kubelet: Kubelet, service: "subprocess.Popen[bytes]") -> None:
    container = asking_container(kubelet.objects)
    assert container["env"] == [
        {"name": "URL", "value": f"http://{name_of(kubelet)}.prod:80/readyz"}
    ]
    kubelet.environment["URL"] = f"http://{HOST}:{kubelet.port('http')}/readyz"
    asked = kubelet.exec(container["command"] + container["args"])
    assert asked.returncode == 0, asked.stderr
    assert "20 answers in a row" in asked.stdout


def asking_container(objects: Objects) -> Manifest:
    (pod,) = [o for o in objects if o["kind"] == "Pod"]
    container: Manifest = pod["spec"]["containers"][0]
    return container


def name_of(kubelet: Kubelet) -> str:
    return str(kubelet.objects.one("Service")["metadata"]["name"])
