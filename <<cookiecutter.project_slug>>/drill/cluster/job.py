"""The load as a Job, from the service's own image: its ConfigMap with the program, and itself."""

from pathlib import Path

import drill
from drill.backend import Manifest
from drill.cluster.resources import LABEL
from drill.load.__main__ import Options

PACKAGE = Path(drill.__file__).parent
#: What ``drill.load`` imports.
SOURCES = ("__init__.py", "errors.py", "record.py", "load/*.py")
MOUNT = "/drill"
OPTIONS = "load.json"

#: For what is in flight at the end: the longest answer that is waited for, and to spare.
GRACE_SECONDS = 60
#: A Job that nobody ends, because the drill was killed, ends itself and is removed.
LIFE_SECONDS = 3600
AFTERLIFE_SECONDS = 300

#: Of the service's pods: where they may run and how their image is had.
PLACING = ("imagePullSecrets", "nodeSelector", "tolerations")
#: What the restricted Pod Security Standard asks of a container.
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def sources() -> dict[str, str]:
    """The program: paths below the folder that is on PYTHONPATH, and texts."""
    files = sorted(path for pattern in SOURCES for path in PACKAGE.glob(pattern))
    return {f"drill/{path.relative_to(PACKAGE)}": path.read_text("utf-8") for path in files}


def config_map(name: str, options: Options) -> Manifest:
    """Keys of a ConfigMap have no slash: a dot stands for it."""
    data = {path.replace("/", "."): text for path, text in sources().items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {**data, OPTIONS: options.dump()},
    }


def job(name: str, deployment: Manifest, release: str) -> Manifest:
    """Placed and allowed as the service's pods are, and let in by the chart's NetworkPolicy."""
    selector = deployment["spec"]["selector"]["matchLabels"]
    labels = {
        LABEL: release,
        # The policy admits the release's tests; the Service does not select them.
        "app.kubernetes.io/name": f"{selector.get('app.kubernetes.io/name', 'drill')}-test",
        "app.kubernetes.io/instance": selector.get("app.kubernetes.io/instance", release),
    }
    items = [{"key": path.replace("/", "."), "path": path} for path in sources()]
    volume = {
        "name": "drill",
        "configMap": {"name": name, "items": [*items, {"key": OPTIONS, "path": OPTIONS}]},
    }
    pod = {
        **bare_pod(deployment, "load", ["python", "-m", "drill.load", f"{MOUNT}/{OPTIONS}"]),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "volumes": [volume],
    }
    pod["containers"][0] |= {
        "env": [
            {"name": "PYTHONPATH", "value": MOUNT},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "volumeMounts": [{"name": "drill", "mountPath": MOUNT, "readOnly": True}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": LIFE_SECONDS,
            "ttlSecondsAfterFinished": AFTERLIFE_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def bare_pod(deployment: Manifest, name: str, command: list[str]) -> Manifest:
    """The spec of a pod that runs a command in the service's image, and may do nothing else."""
    template = deployment["spec"]["template"]["spec"]
    service = template["containers"][0]
    user = {
        key: value
        for key, value in (template.get("securityContext") or {}).items()
        if key in ("runAsUser", "runAsGroup")
    }
    own = (service.get("securityContext") or {}).get("runAsUser")
    container = {
        "name": name,
        "image": service["image"],
        "imagePullPolicy": service.get("imagePullPolicy", "IfNotPresent"),
        "command": command,
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": RESTRICTED,
    }
    copied = {key: template[key] for key in PLACING if key in template}
    return {
        **copied,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **user,
            **({"runAsUser": own} if own else {}),
        },
        "containers": [container],
    }
