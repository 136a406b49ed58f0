"""A cluster for Helm to look into: it has the objects that it is given, and nothing else."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.chart.helm import Manifest
from tests.harness import HOST

#: Kinds by their API, as the cluster lists them.
KINDS = {
    "v1": ["ConfigMap", "Pod", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment"],
    "autoscaling/v2": ["HorizontalPodAutoscaler"],
    "keda.sh/v1alpha1": ["ScaledObject"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
    "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding"],
}


def plural(kind: str) -> str:
    return kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")


def root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def discovery() -> dict[str, Manifest]:
    """What a client asks first: which APIs and kinds there are."""
    answers: dict[str, Manifest] = {
        "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
    }
    groups = []
    for version, kinds in KINDS.items():
        listed = [
            {"name": plural(kind), "namespaced": True, "kind": kind, "verbs": ["get"]}
            for kind in kinds
        ]
        answers[root(version)] = {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": listed,
        }
        group, _, number = version.rpartition("/")
        if group:
            entry = {"groupVersion": version, "version": number}
            groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
    answers["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return answers


@contextlib.contextmanager
def cluster(folder: Path, *objects: Manifest) -> Iterator[tuple[str, ...]]:
    """Arguments for `helm template` to look it up in a cluster that has these objects.

    ``objects`` are of the kinds above, with name and namespace.
    """
    answers = discovery()
    for one in objects:
        place = one["metadata"]
        place_of_kind = f"{root(one['apiVersion'])}/namespaces/{place['namespace']}"
        answers[f"{place_of_kind}/{plural(one['kind'])}/{place['name']}"] = one

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            missing = {"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404}
            body = json.dumps(missing if answer is None else answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        entry = {"name": "it", "cluster": {"server": f"http://{HOST}:{server.server_port}"}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [entry],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config), "utf-8")
        try:
            options = ("--dry-run=server", "--is-upgrade", "--disable-openapi-validation")
            yield (*options, "--kubeconfig", str(path))
        finally:
            server.shutdown()
