"""The routes for tools that import an application, served by a server that knows no lifecycle."""

import signal
import subprocess
import sys
import tomllib

from tests.harness import HOST, PROJECT, clean_environment, eventually, free_port
from tests.wire import Connection

ENTRYPOINT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["fastapi"][
    "entrypoint"
]


def test_another_server_finds_the_routes_and_keeps_its_signals() -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", ENTRYPOINT, "--host", HOST, "--port", str(port)]
    server = subprocess.Popen(command, cwd=PROJECT, env=clean_environment())
    try:

        def description() -> str:
            try:
                with Connection(HOST, port) as connection:
                    return connection.get("/openapi.json").body.decode()
            except ConnectionRefusedError:
                assert server.poll() is None
                return ""

        assert '"openapi"' in eventually(description, "the server to answer")
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) in (0, -signal.SIGTERM)
    finally:
        server.kill()
        server.wait()


def test_wrong_settings_are_named() -> None:
    module = ENTRYPOINT.partition(":")[0]
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=PROJECT,
        env={**clean_environment(), "APP_PORT": "eighty"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "APP_PORT='eighty'" in done.stderr.splitlines()[-1]
