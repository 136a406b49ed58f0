"""The commands of docs/registries.md do what it says."""

import re
import shlex
import shutil
import subprocess
import tomllib

import pytest

from tests.harness import HOST, PROJECT, eventually
from tests.registry.conftest import Pod
from tests.registry.fake import Fake

TEXT = (PROJECT / "docs/registries.md").read_text("utf-8")
SERVICE = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["name"]


def run(registry: Fake, heading: str, port: int) -> str:
    """Run the command below ``heading``, for the service and the pod of the test."""
    section = TEXT.partition(f"## {heading}\n")[2]
    (command,) = re.findall(r"```sh\n(.*)\n```", section.partition("\n## ")[0])
    command = re.sub(r"http://127\.0\.0\.1:\d+", registry.direct, command)
    command = command.replace(SERVICE, "web").replace("10.0.0.7&port=8080", f"{HOST}&port={port}")
    words = shlex.split(command)
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout


def test_what_clients_get_and_how_to_remove_it(registry: Fake, pod: Pod) -> None:
    service = pod("web-abc", APP_REGISTRY__STRATEGY="event").ready()
    service.logged("registered")
    assert str(service.port) in run(registry, "Where to look", service.port)
    service.kill()
    assert registry.readers() == {(HOST, service.port)}
    run(registry, "An entry that is left over", service.port)
    eventually(lambda: registry.readers() == set(), "the entry to be removed")
