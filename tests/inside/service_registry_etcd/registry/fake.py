"""A real etcd behind a proxy, which sees every call and fails on demand."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from base64 import b64decode, b64encode

import pytest

from tests.harness import HOST, eventually, free_port
from tests.registry.server import Answer, Json, RegistryServer, Request

CREDENTIALS = {"APP_REGISTRY__USERNAME": "web", "APP_REGISTRY__PASSWORD": "secret-of-the-test"}
STRATEGIES = ("heartbeat", "event")
ROOT = {"name": "root", "password": "root"}
ACTS = {
    "/v3/kv/put": "register",
    "/v3/lease/grant": "grant",
    "/v3/lease/keepalive": "beat",
    "/v3/kv/deleterange": "deregister",
    "/v3/kv/range": "read",
    "/v3/auth/authenticate": "login",
}


class Fake(RegistryServer):
    def __init__(self) -> None:
        program = shutil.which("etcd")
        if program is None:
            pytest.skip("etcd is not installed: apt-get install etcd-server")
        self.folder = tempfile.mkdtemp(prefix="etcd-")
        self.port, peer = free_port(), free_port()
        client = f"http://{HOST}:{self.port}"
        self._command = [program, "--data-dir", self.folder, "--heartbeat-interval", "20"]
        self._command += ["--election-timeout", "200", "--logger", "zap", "--log-level", "error"]
        self._command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        self._command += ["--listen-peer-urls", f"http://{HOST}:{peer}"]
        self._command += ["--initial-advertise-peer-urls", f"http://{HOST}:{peer}"]
        self._command += ["--initial-cluster", f"default=http://{HOST}:{peer}"]
        self._etcd: subprocess.Popen[bytes] | None = None
        self._own_token = ""
        self._secured = False
        super().__init__()

    def up(self) -> None:
        self._etcd = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        eventually(self._healthy, "etcd to be healthy")
        if self._secured:
            self._log_in()
        super().up()

    def down(self) -> None:
        super().down()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()
            self._etcd = None

    @property
    def direct(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return self._post("/v3/maintenance/status", {}).status == 200
        return False

    def act(self, request: Request) -> str:
        return ACTS.get(request.path, request.path)

    def answer(self, act: str, request: Request) -> Answer:
        return self._post(request.path, request.json, request.headers.get("authorization", ""))

    def _post(self, path: str, body: Json, token: str = "", check: bool = False) -> Answer:
        url = f"http://{HOST}:{self.port}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
        request.add_header("content-type", "application/json")
        if token:
            request.add_header("authorization", token)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return Answer(200, response.read().decode())
        except urllib.error.HTTPError as error:
            assert not check, error.read()
            return Answer(error.code, error.read().decode())

    def _own(self, path: str, body: Json) -> Json:
        """As an administrator."""
        found: Json = json.loads(self._post(path, body, self._own_token, check=True).body)
        return found

    def _values(self) -> list[Json]:
        prefix = {"key": text("/services/web/"), "range_end": text("/services/web0")}
        found = self._own("/v3/kv/range", prefix).get("kvs", [])
        return [json.loads(b64decode(one["value"])) for one in found]

    def readers(self) -> set[tuple[str, int]]:
        return {(one["address"], one["port"]) for one in self._values()}

    def forget(self) -> None:
        for lease in self._own("/v3/lease/leases", {}).get("leases", []):
            self._own("/v3/lease/revoke", lease)
        everything = {"key": text("/"), "range_end": text("0")}
        self._own("/v3/kv/deleterange", everything)

    def demand(self, credentials: bool) -> None:
        """Turn authentication on, with the password of CREDENTIALS or another."""
        password = CREDENTIALS["APP_REGISTRY__PASSWORD"] if credentials else "another"
        if self._secured:
            self._own("/v3/auth/user/changepw", {"name": "web", "password": password})
            return
        self._own("/v3/auth/user/add", ROOT)
        self._own("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self._own("/v3/auth/user/add", {"name": "web", "password": password})
        self._own("/v3/auth/role/add", {"name": "services"})
        permission = {
            "permType": "READWRITE",
            "key": text("/services/"),
            "range_end": text("/services0"),
        }
        self._own("/v3/auth/role/grant", {"name": "services", "perm": permission})
        self._own("/v3/auth/user/grant", {"user": "web", "role": "services"})
        self._own("/v3/auth/enable", {})
        self._log_in()

    def _log_in(self) -> None:
        """As an administrator; a restart of etcd forgets all tokens."""
        self._secured, self._own_token = True, ""
        self._own_token = str(self._own("/v3/auth/authenticate", ROOT)["token"])

    def facts(self) -> Json:
        (one,) = self._values()
        return {**one, "service": "web", "id": one["meta"]["pod"]}


def text(value: str) -> str:
    return b64encode(value.encode()).decode()
