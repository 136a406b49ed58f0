"""What a service is made of may be used in any of them; what its developers use, by anybody."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template import ROOT, Answers, Template, surroundings

#: Of these a closed service may be made. MPL-2.0 asks for changes of its own files only.
PERMISSIVE = re.compile(
    r"(?i)\(?(MIT|0BSD|(3-Clause )?BSD|ISC|Apache|PSF|Python Software Foundation|MPL|Mozilla Public License"
    r"|Unlicense)\b"
)
#: Tools that nothing is made of: they may be under anything that lets everybody run them.
TOOLS = {"text-unidecode"}
#: Those whose metadata says nothing; their licence files do.
SILENT = {"cookiecutter": "BSD-3-Clause"}


def refused(python: Path | str) -> dict[str, str]:
    done = subprocess.run([python, ROOT / "tests/licences.py"], capture_output=True, text=True, check=True)
    licences: dict[str, str] = json.loads(done.stdout) | SILENT
    spared = {*TOOLS, "example-service"}  # the project's own licence is for its owner to choose
    return {
        name: licence
        for name, licence in licences.items()
        if name not in spared and not all(PERMISSIVE.match(part) for part in re.split(r" (?:AND|OR) |; ", licence))
    }


def test_of_the_tools() -> None:
    assert refused(sys.executable) == {}


@pytest.mark.slow
@pytest.mark.parametrize("answers", [{}, {"leader_election": "yes", "tracing": "opentelemetry"}], ids=["least", "most"])
def test_of_a_new_project(tmp_path: Path, answers: Answers) -> None:
    project = Template.copied_to(tmp_path).bake(**answers)
    subprocess.run(["make", "setup", ".venv/.chart", ".venv/.cluster"], cwd=project, env=surroundings(), check=True)
    assert refused(project / ".venv/bin/python") == {}


def test_what_is_refused() -> None:
    parts = ["GPL-3.0-only", "GNU General Public License v3 (GPLv3)", "Other/Proprietary License", "nothing"]
    assert [part for part in parts if PERMISSIVE.match(part)] == []
