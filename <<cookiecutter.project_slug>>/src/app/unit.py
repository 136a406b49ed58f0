"""``python -m app unit systemd|compose``: how to run the service outside Kubernetes.

The times come from the same settings as those of the service: variables that are set when
this is printed become part of the unit.
"""

import json
import math
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import PurePosixPath

from app.observability.lines import masked
from app.settings import PREFIX, Settings

NAME = "<< cookiecutter.project_slug >>"

SYSTEMD = """\
# /etc/systemd/system/{name}.service
[Unit]
Description={name}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={python} -m app serve
{environment}
# SIGTERM starts the drain, so there is no ExecStop. The service ends its child processes itself.
KillMode=mixed
TimeoutStopSec={grace}
WatchdogSec={watchdog}
Restart=always
RestartSec=2
RestartPreventExitStatus=2

DynamicUser=yes
{directory}
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
LockPersonality=yes
NoNewPrivileges=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=read-only
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077

[Install]
WantedBy=multi-user.target"""

COMPOSE = """\
services:
  {name}:
    image:
      << cookiecutter.image_repository >>:{version}
    environment:{environment}
    ports: ["{port}:{port}"]
    stop_signal: SIGTERM
    stop_grace_period: {grace}s
    healthcheck:
      test: [CMD, python, -m, app, probe, readyz]
      interval: 5s
      timeout: 3s
      retries: 2
      start_period: 60s
      start_interval: 1s
    restart: unless-stopped
    read_only: true
    tmpfs: [{directory}]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]"""


def render(kind: str, settings: Settings) -> str:
    """The unit of ``kind``, "systemd" or "compose"."""
    return _systemd(settings) if kind == "systemd" else _compose(settings)


def _given() -> Iterator[tuple[str, str | None]]:
    """The variables that are set, sorted; None for the value of a secret."""
    for name, value in sorted(os.environ.items()):
        if name.startswith(PREFIX) and value:
            yield name, value if masked(name, value) == value else None


def _systemd(settings: Settings) -> str:
    given = {"PYTHONUNBUFFERED": "1", **dict(_given())}
    socket = given.setdefault("APP_CONTROL_SOCKET", f"/run/{NAME}/control.sock") or ""
    lines = [f"Environment={_quoted(f'{k}={v}')}" for k, v in given.items() if v is not None]
    if secrets := [name for name, value in given.items() if value is None]:
        lines += [f"# Mode 0600, with {', '.join(secrets)}", f"EnvironmentFile=/etc/{NAME}.env"]
    directory = "# No RuntimeDirectory: the control socket is not in a folder of /run."
    match PurePosixPath(socket).parent.parts:
        case ["/", "run", first, *more]:
            folder = _quoted("/".join([first, *more]))
            directory = f"RuntimeDirectory={folder}\nRuntimeDirectoryMode=0700"
    return SYSTEMD.format(
        name=NAME,
        python=_quoted(sys.executable).replace("$", "$$"),
        environment="\n".join(lines),
        grace=math.ceil(settings.shutdown.grace_seconds),
        watchdog=math.ceil(settings.probes.stall_seconds),
        directory=directory,
        capabilities="CAP_NET_BIND_SERVICE" if settings.port < 1024 else "",
    )


def _quoted(text: str) -> str:
    """``text`` as one word of a unit."""
    for one, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n")):
        text = text.replace(one, escaped)
    return f'"{text}"' if set(text) & set(" \t;'\\\"#") else text


def _compose(settings: Settings) -> str:
    # A variable without a value is taken from the environment of `docker compose`.
    lines = [
        f"      {name}:{'' if value is None else ' ' + json.dumps(value.replace('$', '$$'))}"
        for name, value in _given()
    ]
    folder = PurePosixPath(settings.control_socket).parent
    return COMPOSE.format(
        name=NAME,
        version=version(NAME),
        environment="".join(f"\n{line}" for line in lines) or " {}",
        port=settings.port,
        grace=math.ceil(settings.shutdown.grace_seconds),
        directory=json.dumps(f"{folder}:mode=0700,uid=10001,gid=10001".replace("$", "$$")),
    )
