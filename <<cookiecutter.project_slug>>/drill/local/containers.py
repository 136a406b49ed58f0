"""[drill.chart.environment] A container's environment, put together as the kubelet does.

ConfigMaps of ``envFrom`` first, in their order, then ``env``, whose values may
refer to what was defined before them by ``$(NAME)``.

[drill.local.manifests] The chart as it is rendered for one pod.
[drill.local.containers] A container: a process with the environment, the volumes and the address of its pod.
"""

import copy
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drill.chart import Manifest, Patch, PodTemplate, Release, Workload
from drill.errors import DrillError
from drill.local.machine import Place, Process, Processes
from drill.plan import Plan
from drill.record import PodRecord



def environment(
    container: Manifest, objects: Sequence[Manifest], fields: Mapping[str, str]
) -> dict[str, str]:
    """``objects`` are the release's; ``fields`` is the Downward API by field path.

    Raises DrillError for what only a cluster has.
    """
    together: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        prefix = source.get("prefix", "")
        data = _config(source, objects)
        together |= {prefix + name: value for name, value in data.items()}
    for variable in container.get("env", ()):
        name = variable["name"]
        if "valueFrom" in variable:
            value = _from(variable["valueFrom"], objects, fields, name)
        else:
            value = expand(str(variable.get("value", "")), together)
        if value is not None:
            together[name] = value
    return together


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` by its value, unknown names as they are, ``$$`` for ``$``."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)", value, text)


def _from(
    source: Manifest, objects: Sequence[Manifest], fields: Mapping[str, str], name: str
) -> str | None:
    if "fieldRef" in source:
        path = source["fieldRef"]["fieldPath"]
        if path in fields:
            return fields[path]
        if path.startswith(("metadata.labels[", "metadata.annotations[")):
            return ""  # a label that is not there
        raise DrillError(f"{name} comes from {path}, which the drill does not have.")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            return _key(source[kind], kind, objects, name)
    raise DrillError(
        f"{name} comes from {', '.join(source)}, which the drill does not have: "
        f"give it a value, as in --env {name}=VALUE."
    )


def _key(reference: Manifest, kind: str, objects: Sequence[Manifest], name: str) -> str | None:
    wanted = "ConfigMap" if kind == "configMapKeyRef" else "Secret"
    for found in objects:
        if found["kind"] == wanted and found["metadata"]["name"] == reference["name"]:
            data = {**found.get("data", {}), **found.get("stringData", {})}
            if reference["key"] in data:
                return str(data[reference["key"]])
    if reference.get("optional"):
        return None
    raise DrillError(
        f"{name} comes from the {wanted} {reference['name']!r}, which is not part of the chart: "
        f"give it a value, as in --env {name}=VALUE."
    )


def _config(source: Manifest, objects: Sequence[Manifest]) -> dict[str, str]:
    for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
        if key not in source:
            continue
        for found in objects:
            if found["kind"] == kind and found["metadata"]["name"] == source[key]["name"]:
                return {**found.get("data", {}), **found.get("stringData", {})}
        if kind == "ConfigMap" and not source[key].get("optional"):
            raise DrillError(f"ConfigMap {source[key]['name']!r} is not part of the chart.")
    return {}  # a Secret is the cluster's: what it sets comes by --env


@dataclass(frozen=True)
class Rendered:
    """A release, and its Deployment with all patches."""

    release: Release
    deployment: Manifest
    workload: Workload

    @property
    def port(self) -> int:
        """Where the pod's clients connect: the Service's target, or else the first port."""
        template = self.workload.template
        for service in self.release.all("Service"):
            port: dict[str, Any] = service["spec"]["ports"][0]
            return template.port(port.get("targetPort", port["port"]))
        return next(iter(template.ports.values()))


class Manifests:
    """Renders the chart of a plan for each place, once for places with the same ports."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._releases: dict[tuple[int, int], Release] = {}

    def render(self, place: Place, patches: tuple[Patch, ...]) -> Rendered:
        """Takes as long as Helm does the first time. Raises DrillError."""
        ports = (place.port, place.management_port)
        if ports not in self._releases:
            values = self._plan.values.setting(
                replicas=self._plan.replicas,
                listen__port=place.port,
                listen__managementPort=place.management_port,
            )
            self._releases[ports] = Release.render(values)
        release = self._releases[ports]
        deployment = copy.deepcopy(release.deployment())
        for patch in (*self._plan.patches, *patches):
            patch(deployment)
        return Rendered(release, deployment, Workload.read(deployment))


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
