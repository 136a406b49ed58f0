"""What a generated project weighs: it stays small enough to be known whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Bake
from tests.template import LEANEST, Answers, files_in

#: The most files and lines. Raise them for something that owners use, not for a longer way to say the same.
LIMITS = {"defaults": (244, 28_290), "leanest": (168, 17_050)}
ANSWERS: dict[str, Answers] = {"defaults": {}, "leanest": LEANEST}


def lines(project: Path) -> Iterator[int]:
    for path in files_in(project):
        yield (project / path).read_bytes().count(b"\n")


@pytest.mark.parametrize("name", LIMITS)
def test_a_project_is_small(bake: Bake, name: str) -> None:
    counts = list(lines(bake(**ANSWERS[name])))
    most_files, most_lines = LIMITS[name]
    assert len(counts) <= most_files
    assert sum(counts) <= most_lines


@pytest.mark.parametrize("name", LIMITS)
def test_its_modules_are_chapters(bake: Bake, name: str) -> None:
    project = bake(**ANSWERS[name])
    long = [
        path.as_posix()
        for path in files_in(project)
        if path.suffix in {".py", ".tpl"} and (project / path).read_bytes().count(b"\n") > 300
    ]
    assert long == []
