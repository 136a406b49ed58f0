"""The rendered chart, read as the kubelet and the Deployment controller read it.

Defaults are those of the Kubernetes API reference (apps/v1 Deployment, core/v1
Container, Probe).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import yaml

from dev import helm
from drill.errors import DrillError

Manifest = dict[str, Any]
#: Changes the manifest of a Deployment in place.
Patch = Callable[[Manifest], None]


@dataclass(frozen=True)
class Action:
    """What a probe or hook does: exactly one field is set."""

    exec: tuple[str, ...] | None = None
    #: Path, port (a number or the name of one) and headers.
    http: tuple[str, int | str, tuple[tuple[str, str], ...]] | None = None
    tcp: int | str | None = None
    sleep: float | None = None

    @classmethod
    def read(cls, handler: Manifest, where: str) -> Self:
        if "exec" in handler:
            return cls(exec=tuple(handler["exec"]["command"]))
        if "httpGet" in handler:
            get = handler["httpGet"]
            if get.get("scheme", "HTTP") != "HTTP" or "host" in get:
                raise DrillError(f"{where} uses TLS or another host: the drill supports neither.")
            headers = tuple((h["name"], h["value"]) for h in get.get("httpHeaders", ()))
            return cls(http=(get.get("path", "/"), get["port"], headers))
        if "tcpSocket" in handler:
            return cls(tcp=handler["tcpSocket"]["port"])
        if "sleep" in handler:
            return cls(sleep=float(handler["sleep"]["seconds"]))
        kinds = ", ".join(handler) or "nothing"
        raise DrillError(
            f"{where} has {kinds}: the drill supports exec, httpGet, tcpSocket and sleep."
        )


@dataclass(frozen=True)
class Probe:
    """A probe. Times are in seconds."""

    action: Action
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    #: The grace period when this probe stops the container; None for the pod's.
    grace: float | None = None

    @classmethod
    def read(cls, container: Manifest, name: str) -> Self | None:
        probe = container.get(f"{name}Probe")
        if probe is None:
            return None
        return cls(
            Action.read({k: v for k, v in probe.items() if k in HANDLERS}, f"the {name} probe"),
            float(probe.get("initialDelaySeconds", 0)),
            float(probe.get("periodSeconds", 10)),
            float(probe.get("timeoutSeconds", 1)),
            int(probe.get("successThreshold", 1)),
            int(probe.get("failureThreshold", 3)),
            probe.get("terminationGracePeriodSeconds"),
        )


HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


@dataclass(frozen=True)
class PodTemplate:
    """The Deployment's pod template, with its first container."""

    container: Manifest
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    command: tuple[str, ...]
    ports: Mapping[str, int]
    startup: Probe | None
    readiness: Probe | None
    liveness: Probe | None
    pre_stop: Action | None
    grace: float
    #: Volume names by mount path.
    mounts: Mapping[str, str]

    @classmethod
    def read(cls, template: Manifest) -> Self:
        spec, metadata = template["spec"], template.get("metadata", {})
        container = spec["containers"][0]
        command = (*container.get("command", ()), *container.get("args", ()))
        if not container.get("command"):
            raise DrillError(
                "the container has no command, and the drill does not read the image's: "
                "set one in chart/templates/deployment.yaml."
            )
#% if cookiecutter.tls == "yes"
        if any(one["name"] == "APP_TLS__CERTIFICATE" for one in container.get("env", ())):
            raise DrillError(
                "tls.secretName makes the pods speak TLS, but the drill sends plain HTTP: rehearse "
                "without it (--set tls.secretName= --set service.port=80); a stop is the same."
            )
#% endif
        hook = container.get("lifecycle", {}).get("preStop")
        return cls(
            container=container,
            labels=metadata.get("labels", {}),
            annotations=metadata.get("annotations", {}),
            command=command,
            ports={port["name"]: int(port["containerPort"]) for port in container.get("ports", ())},
            startup=Probe.read(container, "startup"),
            readiness=Probe.read(container, "readiness"),
            liveness=Probe.read(container, "liveness"),
            pre_stop=Action.read(hook, "the preStop hook") if hook else None,
            grace=float(spec.get("terminationGracePeriodSeconds", 30)),
            mounts={
                mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", ())
            },
        )

    def port(self, port: int | str) -> int:
        """Return the number of a port given by name or number."""
        if isinstance(port, int) or port.isdigit():
            return int(port)
        if port not in self.ports:
            raise DrillError(
                f"the container has no port named {port!r}: it has {', '.join(self.ports)}."
            )
        return self.ports[port]


@dataclass(frozen=True)
class Workload:
    """A Deployment."""

    name: str
    namespace: str
    replicas: int
    selector: Mapping[str, str]
    template: PodTemplate
    max_surge: int | str
    max_unavailable: int | str
    min_ready: float
    progress_deadline: float

    @classmethod
    def read(cls, deployment: Manifest) -> Self:
        metadata, spec = deployment["metadata"], deployment["spec"]
        strategy = spec.get("strategy", {})
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            raise DrillError(
                f"strategy {strategy['type']!r} loses requests by design: use RollingUpdate."
            )
        rolling = strategy.get("rollingUpdate") or {}
        return cls(
            name=metadata["name"],
            namespace=metadata.get("namespace", "default"),
            replicas=int(spec.get("replicas", 1)),
            selector=spec["selector"]["matchLabels"],
            template=PodTemplate.read(spec["template"]),
            max_surge=rolling.get("maxSurge", "25%"),
            max_unavailable=rolling.get("maxUnavailable", "25%"),
            min_ready=float(spec.get("minReadySeconds", 0)),
            progress_deadline=float(spec.get("progressDeadlineSeconds", 600)),
        )

    def surge(self, replicas: int) -> tuple[int, int]:
        """Return maxSurge and maxUnavailable as numbers of pods.

        Percentages are rounded up for the surge and down for the unavailable. If
        both are 0, one pod may be unavailable (ResolveFenceposts).
        """
        surge = scaled(self.max_surge, replicas, up=True)
        unavailable = scaled(self.max_unavailable, replicas, up=False)
        return (surge, unavailable) if surge or unavailable else (0, 1)


def scaled(value: int | str, total: int, *, up: bool) -> int:
    """Return a number as it is, a percentage as a rounded share of ``total``."""
    if isinstance(value, int):
        return value
    hundredths = int(value.removesuffix("%")) * total
    return -(-hundredths // 100) if up else hundredths // 100


CHART = Path(__file__).resolve().parents[1] / "chart"
NAME, NAMESPACE = "drill", "drill"


@dataclass(frozen=True)
class Values:
    """The chart's values: files, then settings, as Helm takes them."""

    files: tuple[Path, ...] = ()
    settings: tuple[str, ...] = ()
    chart: Path = CHART

    def setting(self, **values: object) -> Self:
        """Return a copy with the drill's own values, which the user's override."""
        own = tuple(f"{name.replace('__', '.')}={value}" for name, value in values.items())
        return replace(self, settings=(*own, *self.settings))

    def arguments(self) -> list[str]:
        return [
            *(f"--values={path}" for path in self.files),
            *(f"--set={setting}" for setting in self.settings),
        ]


@dataclass(frozen=True)
class Release:
    """The objects of a rendered chart."""

    objects: tuple[Manifest, ...]

    @classmethod
    def render(cls, values: Values, name: str = NAME, namespace: str = NAMESPACE) -> Self:
        """Render the chart. Raises DrillError with Helm's message."""
        arguments = ("template", name, str(values.chart), "--namespace", namespace)
        try:
            text = helm.find().run(*arguments, *values.arguments())
        except helm.HelmError as error:
            raise DrillError(str(error)) from error
        release = cls(tuple(document for document in yaml.safe_load_all(text) if document))
        release.deployment()
        return release

    def deployment(self) -> Manifest:
        return self.one("Deployment")

    @property
    def workload(self) -> Workload:
        return Workload.read(self.deployment())

    def one(self, kind: str) -> Manifest:
        found = self.all(kind)
        if len(found) != 1:
            raise DrillError(
                f"the chart renders {len(found)} objects of kind {kind}: the drill needs one."
            )
        return found[0]

    def all(self, kind: str) -> Sequence[Manifest]:
        return [o for o in self.objects if o["kind"] == kind and not _is_test(o)]


def _is_test(found: Manifest) -> bool:
    return "helm.sh/hook" in found["metadata"].get("annotations", {})
