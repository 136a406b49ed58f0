"""nginx and HAProxy in front of a service, as real processes that terminate TLS."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.authority import HAS_OPENSSL, certificate
from tests.harness import HOST, PATIENCE, free_port

#: The address from which a proxy connects to what is behind it.
PROXY, SECOND = "127.0.0.2", "127.0.0.3"

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
  server {{
    listen {host}:{port}{tls};
    location {path} {{
      proxy_pass http://{host}:{behind}{stripped};
      proxy_bind {source};
      proxy_http_version 1.1;
      proxy_set_header Host internal;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      {said}
    }}
  }}
}}
"""

HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
  option forwardfor
frontend front
  bind {host}:{port}{tls}
  {said}
  http-request replace-path {path}(.*) {stripped}\\1
  default_backend back
backend back
  http-request set-header Host internal
  source {source}
  server one {host}:{behind}
"""


def missing(program: str) -> str:
    """Why there can be no such proxy here; empty where there can."""
    if shutil.which(program, path=PATHS) is None:
        return f"{program} is not installed"
    if not HAS_OPENSSL:
        return "openssl is not there to make a certificate"
    with socket.socket() as probe:
        try:
            probe.bind((PROXY, 0))
        except OSError:
            return f"this machine has no address {PROXY}"
    return ""


#: Debian keeps nginx and HAProxy where only root looks.
PATHS = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"


@contextlib.contextmanager
def in_front(
    program: str,
    behind: int,
    folder: Path,
    *,
    tls: bool = True,
    source: str = PROXY,
    path: str = "/",
    stripped: str = "/",
) -> Iterator[int]:
    """The port of a proxy in front of the port ``behind``.

    With ``tls`` it terminates TLS, with the certificate of ``certificate(folder)``, and tells
    of protocol and host; it always adds the client to ``X-Forwarded-For``. Paths that begin
    with ``path`` begin with ``stripped`` behind it.
    """
    port = free_port()
    own = folder / f"{program}-{port}"
    own.mkdir()
    pair = own / "pair.pem"
    if tls:
        pair.write_text((folder / "server.crt").read_text() + (folder / "server.key").read_text())
    if program == "nginx":
        listens = f" ssl; ssl_certificate {pair}; ssl_certificate_key {pair}" if tls else ""
        headers = {"Proto": "$scheme", "Host": "$http_host"} if tls else {}
        said = "".join(f"proxy_set_header X-Forwarded-{k} {v};" for k, v in headers.items())
        # Without a path, nginx passes the client's on as it came.
        stripped = "" if path == stripped else stripped
        text, command = NGINX, ["nginx", "-p", str(own), "-c"]
    else:
        listens = f" ssl crt {pair}" if tls else ""
        headers = {"Proto": "https", "Host": "%[req.hdr(host)]"} if tls else {}
        said = "\n  ".join(
            f"http-request set-header X-Forwarded-{k} {v}" for k, v in headers.items()
        )
        text, command = HAPROXY, ["haproxy", "-db", "-f"]
    filled = text.format(
        folder=own,
        host=HOST,
        port=port,
        tls=listens,
        behind=behind,
        said=said,
        source=source,
        path=path,
        stripped=stripped,
    )
    (own / "config").write_text(filled)
    found = shutil.which(command[0], path=PATHS)
    assert found is not None
    log = own / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [found, *command[1:], str(own / "config")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not _listens(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


def trusting(folder: Path) -> ssl.SSLContext:
    """Make the proxies' certificate; the context of a client that trusts it."""
    certificate(folder, f"IP:{HOST}")
    return ssl.create_default_context(cafile=str(folder / "ca.crt"))
