"""HAProxy, nginx and Envoy in front of two services, as the documents configure them."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.harness import HOST, PATIENCE, PROJECT, eventually
from tests.proxies import PATHS

PAGE = PROJECT / "docs" / "outside-kubernetes.md"
LANGUAGES = {"haproxy": "haproxy", "nginx": "nginx", "envoy": "yaml"}
COMMANDS = {
    "haproxy": ["-db", "-f"],
    "nginx": ["-c"],
    "envoy": ["--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c"],
}
#: What is around the example: what every installation of nginx has.
NGINX = """
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
{text}
}}
"""


def program(name: str) -> str | None:
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=f"{beside}:{PATHS}")


def printed(language: str, word: str) -> str:
    """The one block of the page in this language that contains ``word``."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (text,) = [block for block in blocks if word in block]
    return str(text)


def example(name: str, port: int, behind: list[int]) -> str:
    """The configuration of the page, with the addresses of this test."""
    text = printed(LANGUAGES[name], "10.0.0.11")
    for last, real in zip(("11", "12"), behind, strict=True):
        text = text.replace(f"10.0.0.{last}:8080", f"{HOST}:{real}")
        text = text.replace(f"10.0.0.{last}, port_value: 8080", f"{HOST}, port_value: {real}")
    return re.sub(r"(bind :|listen |0\.0\.0\.0, port_value: )80\b", rf"\g<1>{port}", text)


@contextlib.contextmanager
def balancing(name: str, text: str, port: int, folder: Path) -> Iterator[Path]:
    """Run the balancer ``name`` with the configuration ``text``; yields its file."""
    config = folder / ("config.yaml" if name == "envoy" else "config")
    config.write_text(NGINX.format(folder=folder, text=text) if name == "nginx" else text)
    found = program(name)
    assert found is not None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [found, *COMMANDS[name], str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        eventually(lambda: _listens(port) or process.poll() is not None, "the balancer to listen")
        assert process.poll() is None, (folder / "log").read_text()
        yield config
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


class Load:
    """Clients that send until the end, each request on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.results: Counter[str] = Counter()
        self._done = threading.Event()
        kinds = ["GET /hello", "GET /hello", "POST /jobs", "GET /slow?seconds=1"]
        self._threads = [threading.Thread(target=self._send, args=(k,)) for k in kinds]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _send(self, kind: str) -> None:
        method, path = kind.split()
        body = json.dumps({"seconds": 0}) if method == "POST" else None
        while not self._done.wait(0.03):
            connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
            try:
                headers = {"Content-Type": "application/json"} if body else {}
                connection.request(method, path, body, headers)
                result = str(connection.getresponse().status)
            except (OSError, http.client.HTTPException) as error:
                result = type(error).__name__
            finally:
                connection.close()
            self.results[f"{method} {result}"] += 1

    @property
    def sent(self) -> int:
        return self.results.total()

    @property
    def lost(self) -> dict[str, int]:
        """How many requests had each other result than a 2xx status."""
        found = dict(self.results)
        return {kind: count for kind, count in found.items() if " 2" not in kind}
