"""A container: a process with the environment, the volumes and the address of its pod."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from drill.chart.environment import environment, expand
from drill.chart.workload import PodTemplate
from drill.errors import DrillError
from drill.local.manifests import Rendered
from drill.local.processes import Process, Processes
from drill.record import PodRecord

#: What of the caller's environment a program of the image would find there as well.
INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")

#: Programs that run as PID 1 of an image, pass signals on and reap orphans.
INITS = ("tini", "dumb-init", "catatonit")


class Container:
    """Runs the commands of one pod's container.

    Volumes are folders of its own under ``folder``: every word and variable that
    begins with a mount path begins with such a folder instead.
    """

    def __init__(
        self,
        rendered: Rendered,
        record: PodRecord,
        folder: Path,
        processes: Processes,
        over: Mapping[str, str],
    ) -> None:
        self.template: PodTemplate = rendered.workload.template
        self.address = record.address
        self._record = record
        self._folder = folder
        self._processes = processes
        self._mounts = {path: folder / name for path, name in self.template.mounts.items()}
        for volume in self._mounts.values():
            volume.mkdir(parents=True, mode=0o700)
        fields = downward(rendered, record)
        said = environment(self.template.container, rendered.release.objects, fields) | dict(over)
        told = {name: self._relocate(value) for name, value in {"TMPDIR": "/tmp", **said}.items()}
        # A pod has a network of its own; here it has to keep to its own address.
        self._environment = {**machine(), **told, "APP_HOST": record.address}

    async def start(self) -> Process:
        """Raises DrillError when there is no such program."""
        return await self._run(without_init(self.template.command), self._record.log)

    async def exec(self, command: Sequence[str]) -> Process | None:
        """A command beside the main one; None when there is no such program."""
        try:
            return await self._run(command, self._record.log.with_suffix(".exec.log"))
        except DrillError:
            return None

    def remove(self) -> None:
        """Its volumes end with the pod."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self, command: Sequence[str], log: Path) -> Process:
        words = [self._relocate(expand(word, self._environment)) for word in command]
        return await self._processes.start(words, self._environment, log)

    def _relocate(self, text: str) -> str:
        for path, folder in self._mounts.items():
            if text == path or text.startswith(f"{path}/"):
                return f"{folder}{text[len(path) :]}"
        return text


def without_init(command: Sequence[str]) -> Sequence[str]:
    """What the image's init would run: it is not there on every machine, and has nothing to do."""
    if Path(command[0]).name in INITS and "--" in command:
        return command[list(command).index("--") + 1 :]
    return command


def downward(rendered: Rendered, record: PodRecord) -> dict[str, str]:
    """The Downward API: what a pod may ask about itself, by field path."""
    template = rendered.workload.template
    pod = rendered.deployment["spec"]["template"]["spec"]
    labels = {f"metadata.labels['{key}']": value for key, value in template.labels.items()}
    return labels | {
        "metadata.name": record.name,
        "metadata.namespace": rendered.workload.namespace,
        "metadata.uid": f"uid-of-{record.name}",
        "spec.nodeName": record.node,
        "spec.serviceAccountName": pod.get("serviceAccountName", "default"),
        "status.podIP": record.address,
        "status.podIPs": record.address,
        "status.hostIP": "127.0.0.1",
    }


def machine() -> dict[str, str]:
    """What stands for the image: this interpreter by the name of ``python``, and its modules."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    modules = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    found = {"PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if importable := os.pathsep.join(str(Path(module).resolve()) for module in modules):
        found["PYTHONPATH"] = importable
    return found | {name: os.environ[name] for name in INHERITED if name in os.environ}
