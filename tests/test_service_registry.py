"""What `service_registry` brings, and that nothing of it is there without."""

import re
from pathlib import Path

import pytest

from tests.conftest import Bake
from tests.template import QUESTIONS, files_in

CLIENTS = tuple(QUESTIONS["_features"]["service_registry"])


def read(project: Path, path: str | Path) -> str:
    return (project / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("answer", CLIENTS)
def test_an_answer_brings_its_own_client_and_names_no_other(bake: Bake, answer: str) -> None:
    project = bake(service_registry=answer)
    found = {path.stem for path in (project / "src/app/registry").iterdir()}
    assert found == {"__init__", "client", "registrar", "settings", answer}
    others = re.compile(rf"(?i)\b({'|'.join(set(CLIENTS) - {answer})})\b")
    named = [path.as_posix() for path in files_in(project) if others.search(read(project, path))]
    assert named == []


def test_without_it_nothing_speaks_of_it(bake: Bake) -> None:
    project = bake()
    words = re.compile(
        r"(?i)consul|nacos|etcd|service.registry|APP_REGISTRY|\bregistrar|\bregistration\b|registries\.md"
    )
    named = [path.as_posix() for path in files_in(project) if words.search(read(project, path))]
    assert named == []


@pytest.mark.parametrize("answer", CLIENTS)
def test_the_http_client_is_imported_late(bake: Bake, answer: str) -> None:
    project = bake(service_registry=answer)
    for path in (project / "src/app/registry").iterdir():
        assert not re.search(r"^(import|from) httpx2", read(project, path), re.MULTILINE)
