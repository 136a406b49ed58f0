"""A generated project with the tests of ``tests/inside`` laid over its own, ready to run them.

``python -m tests.inside_project FOLDER [answer=value ...]`` makes one to work in.
"""

import subprocess
import sys
from pathlib import Path

from tests.template import CHOICES, INSIDE, Answers, Template, surroundings

#: What the tests of the drill and the chart need beside ``make setup``.
GROUPS = [".venv/.chart", ".venv/.helm", ".venv/.cluster"]


def make_inside_project(place: Path, answers: Answers) -> Path:
    """Bake below ``place`` and install; return the project's folder."""
    template = Template.copied_to(place)
    template.add_inside_tests(**answers)
    project = template.bake(**answers)
    drills = answers.get("drill", CHOICES["drill"][0]) == "yes"
    subprocess.run(
        ["make", "--no-print-directory", "setup", *(GROUPS if drills else GROUPS[:1])],
        cwd=project,
        env=surroundings(),
        check=True,
    )
    uv = project / ".tools" / "bin" / "uv"
    install = [str(uv) if uv.exists() else "uv", "pip", "install", "--quiet", "--python", ".venv/bin/python"]
    subprocess.run(
        [*install, "--requirements", str(INSIDE / "requirements.txt")],
        cwd=project,
        env={**surroundings(), "UV_SYSTEM_CERTS": "1"},
        check=True,
    )
    return project


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    given = dict(argument.split("=", 1) for argument in sys.argv[2:])
    folder.mkdir(parents=True, exist_ok=True)
    print(make_inside_project(folder, given))  # noqa: T201
