"""Containers: processes with the environment, the volumes and the address of a pod."""

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
    container: Manifest,
    objects: Sequence[Manifest],
    fields: Mapping[str, str],
    over: Mapping[str, str],
) -> dict[str, str]:
    """Return a container's environment, put together as the kubelet does.

    ConfigMaps of ``envFrom`` come first, then ``env``, whose values may refer to
    earlier ones by ``$(NAME)``. ``objects`` are the release's; ``fields`` is the
    Downward API by field path, ``over`` overrides values. Raises DrillError for what only
    a cluster has.
    """
    together: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        prefix = source.get("prefix", "")
        data = _config(source, objects)
        together |= {prefix + name: value for name, value in data.items()}
    for variable in container.get("env", ()):
        name = variable["name"]
        value: str | None
        if name in over:
            value = over[name]
        elif "valueFrom" in variable:
            value = _from(variable["valueFrom"], objects, fields, name)
        else:
            value = expand(str(variable.get("value", "")), together)
        if value is not None:
            together[name] = value
    return together | dict(over)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value and ``$$`` by ``$``; unknown names stay."""

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
            return ""  # the pod has no such label
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
    return {}  # Secrets exist only in the cluster: use --env


@dataclass(frozen=True)
class Rendered:
    """A release and its Deployment with all patches applied."""

    release: Release
    deployment: Manifest
    workload: Workload

    @property
    def service(self) -> Manifest:
        """The Service for clients; empty without one. A headless one is not for them."""
        found = (s for s in self.release.all("Service") if s["spec"].get("clusterIP") != "None")
        return next(found, {})

    @property
    def port(self) -> int:
        """The port for clients: the Service's target port, else the container's first."""
        template = self.workload.template
        if not self.service:
            return next(iter(template.ports.values()))
        port: dict[str, Any] = self.service["spec"]["ports"][0]
        return template.port(port.get("targetPort", port["port"]))


class Manifests:
    """Renders the chart for each place, once for places with the same ports."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._releases: dict[tuple[int, int], Release] = {}

    def render(self, place: Place, patches: tuple[Patch, ...]) -> Rendered:
        """Render the chart; runs Helm the first time. Raises DrillError."""
        ports = (place.port, place.management_port)
        if ports not in self._releases:
            values = self._plan.values.setting(
                replicas=self._plan.replicas,
                listen__port=place.port,
                listen__managementPort=place.management_port,
            )
            self._releases[ports] = Release.render(values, self._plan.release)
        release = self._releases[ports]
        deployment = copy.deepcopy(release.deployment())
        for patch in (*self._plan.patches, *patches):
            patch(deployment)
        return Rendered(release, deployment, Workload.read(deployment))


#: Variables of the caller's environment that the image would have too.
INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")

#: Init programs that run as PID 1 of an image, forward signals and reap orphans.
INITS = ("tini", "dumb-init", "catatonit")


class Container:
    """Runs the commands of one pod's container.

    Its volumes are folders under ``folder``: a word or variable that begins with
    a mount path is rewritten to begin with that folder.
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
        said = environment(self.template.container, rendered.release.objects, fields, over)
        told = {name: self._relocate(value) for name, value in {"TMPDIR": "/tmp", **said}.items()}
        # A pod has its own network; here it must listen only on its own address.
        self._environment = {**machine(), **told, "APP_HOST": record.address}

    async def start(self) -> Process:
        """Start the main command. Raises DrillError if the program does not exist."""
        return await self._run(without_init(self.template.command), self._record.log)

    async def exec(self, command: Sequence[str]) -> Process | None:
        """Start another command; return None if the program does not exist."""
        try:
            return await self._run(command, self._record.log.with_suffix(".exec.log"))
        except DrillError:
            return None

    def remove(self) -> None:
        """Remove the volumes."""
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
    """Strip the image's init program: this machine may not have it, and it is not needed."""
    if Path(command[0]).name in INITS and "--" in command:
        return command[list(command).index("--") + 1 :]
    return command


def downward(rendered: Rendered, record: PodRecord) -> dict[str, str]:
    """Return the Downward API's fields of a pod, by field path."""
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
    """Return variables that stand in for the image: this interpreter as ``python``."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    modules = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    found = {"PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if importable := os.pathsep.join(str(Path(module).resolve()) for module in modules):
        found["PYTHONPATH"] = importable
    return found | {name: os.environ[name] for name in INHERITED if name in os.environ}
