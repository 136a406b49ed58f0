import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.template import Template

Bake = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def plain_git() -> Iterator[None]:
    """git as on a new machine, whoever runs the tests, and be it from a git hook."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Test")
            patch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
        yield


@pytest.fixture(scope="session")
def bake(tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """Bake the real template with these answers, once a session. The result is shared: only read it."""
    template = Template.copied_to(tmp_path_factory.mktemp("template"))

    @cache
    def bake_once(answers: frozenset[tuple[str, str]]) -> Path:
        template.output = tmp_path_factory.mktemp("bake")
        return template.bake(**dict(answers))

    def bake(**answers: str) -> Path:
        return bake_once(frozenset(answers.items()))

    return bake


@pytest.fixture
def template(tmp_path: Path) -> Template:
    """The template with a body of one README: hooks and questions are the real ones, and bakes are quick."""
    return Template.copied_to(tmp_path, body=False)
