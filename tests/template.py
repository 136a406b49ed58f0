"""The template as the tests see it: where it is, how to copy it, how to bake it."""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parent.parent
BODY = ROOT / "<<cookiecutter.project_slug>>"
QUESTIONS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
PARTS = ("cookiecutter.json", "hooks", "{{cookiecutter._cruft}}", BODY.name)
#: Tests of what only the template's maintainers change, by the answer that brings it; see tests/test_inside.py.
INSIDE = ROOT / "tests" / "inside"

Answers = dict[str, str]

CHOICES = {name: values for name, values in QUESTIONS.items() if isinstance(values, list) and not name.startswith("_")}
DEFAULTS: Answers = {name: values[0] for name, values in CHOICES.items()}
#: What an answer is that brings nothing.
NOTHING = ("no", "none")
LEANEST: Answers = {n: next((v for v in values if v in NOTHING), values[0]) for n, values in CHOICES.items()}
FULLEST: Answers = {n: next(v for v in values if v not in NOTHING) for n, values in CHOICES.items()}


def combinations() -> Iterator[Answers]:
    """Those with at most two answers changed, and the smallest and the largest project."""
    for values in itertools.product(*CHOICES.values()):
        answers = dict(zip(CHOICES, values, strict=True))
        changed = [name for name in CHOICES if answers[name] != DEFAULTS[name]]
        if len(changed) <= (1 if "python_version" in changed else 2) or answers in (LEANEST, FULLEST):
            yield answers


#: The combinations by a readable name.
COMBINATIONS = {"-".join(answers.values()): answers for answers in combinations()}


def git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def surroundings() -> dict[str, str]:
    """The environment without what the make that runs these tests would hand down."""
    return {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "VIRTUAL_ENV"}}


def kept_files() -> list[Path]:
    """Every file of the template that git keeps or would keep: what somebody gets who clones it."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS, folder=ROOT)
    return sorted(Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file())


def files_in(folder: Path) -> Iterator[Path]:
    """Files below ``folder``, as relative paths in order, without the repository's own."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and ".git" not in relative.parts:
            yield relative


@dataclass
class Template:
    """A copy of the template that a test may change, and a place to bake it."""

    folder: Path
    config: Path
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.folder.parent / "output"
        self.output.mkdir(exist_ok=True)

    @classmethod
    def copied_to(cls, place: Path, *, body: bool = True) -> "Template":
        """Copy the template; without ``body`` the project it makes has a README and nothing else."""
        folder = place / "template"
        for path in kept_files():
            if body or path.parts[0] != BODY.name:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, folder / path)
        # Bakes leave notes in the home folder and read defaults there; these do neither.
        config = place / "cookiecutterrc"
        config.write_text(f"cookiecutters_dir: {place / 'clones'}\nreplay_dir: {place / 'replay'}\n")
        template = cls(folder, config)
        if not body:
            template.write("README.md", "# << cookiecutter.project_name >>\n")
            template.ask(_features={})  # which names files of the body
        return template

    def write(self, path: str, text: str = "") -> None:
        """Add a file to the body."""
        target = self.folder / BODY.name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def remove(self, path: str) -> None:
        """Remove a file of the body."""
        (self.folder / BODY.name / path).unlink()

    def add_inside_tests(self, **answers: str) -> None:
        """Lay ``tests/inside`` over the body's tests.

        These are ``core``, a folder for each answer that brings something, and one for its value if there is any.
        """
        brought = {name: value for name, value in (DEFAULTS | answers).items() if value not in NOTHING}
        values = [f"{name}_{value}" for name, value in brought.items() if (INSIDE / f"{name}_{value}").is_dir()]
        for room in ["core", *brought, *values]:
            for source in sorted((INSIDE / room).rglob("*")):
                target = self.folder / BODY.name / "tests" / source.relative_to(INSIDE / room)
                if source.is_file() and "__pycache__" not in source.parts:
                    assert target.name == "__init__.py" or not target.exists(), f"{source} hides a test of the body"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, target)

    def ask(self, **questions: Any) -> None:
        """Change or add questions and private values in cookiecutter.json."""
        path = self.folder / "cookiecutter.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | questions), encoding="utf-8")

    def bake(self, **answers: str) -> Path:
        made = cookiecutter(
            str(self.folder),
            no_input=True,
            extra_context=answers,
            output_dir=str(self.output),
            config_file=str(self.config),
            overwrite_if_exists=True,
        )
        return Path(made)
