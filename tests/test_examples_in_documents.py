"""Every example in Python that a document of a new project shows, run in a service with the default settings."""

import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.around_examples import (
    AROUND,
    MODELS,
)
from tests.examples import EXAMPLES
from tests.served_example import running
from tests.template import Template, git
from tests.test_generated_project import make

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    template = Template.copied_to(tmp_path_factory.mktemp("documents"))
    template.add_inside_tests(leader_election="yes")  # whose runner the examples use
    project = template.bake(leader_election="yes")
    git("add", "--all", folder=project)
    make("setup", project)
    make(".venv/.helm", project)
    return project


def blocks(project: Path, language: str) -> list[str]:
    pages = [project / "README.md", project / "chart/README.md", *sorted((project / "docs").iterdir())]
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [block for page in pages for block in pattern.findall(page.read_text("utf-8"))]


def first_line(block: str) -> str:
    """The first that is no import."""
    return next(line for line in block.splitlines() if line and not line.startswith("from "))


@pytest.fixture
def python_blocks(project: Path) -> dict[str, str]:
    return {first_line(block): block for block in blocks(project, "python")}


def test_there_is_a_way_to_run_each(python_blocks: dict[str, str]) -> None:
    assert set(python_blocks) == set(EXAMPLES)


@pytest.mark.parametrize("first", EXAMPLES)
def test_an_example_in_python_does_what_its_page_says(
    project: Path, python_blocks: dict[str, str], first: str, tmp_path: Path
) -> None:
    example = EXAMPLES[first]
    block = python_blocks[first]
    if example.within:
        block = example.within + textwrap.indent(block, "    ")
    if example.needs:
        block = python_blocks[example.needs] + block
    before = MODELS + example.before
    program = AROUND.replace("{before}", before).replace("{block}", block).replace("{after}", example.after)
    with running(project, tmp_path, program) as service:
        assert callable(example.look)
        example.look(service)


def test_values_in_the_documents_render(project: Path, tmp_path: Path) -> None:
    rendered = 0
    for block in blocks(project, "yaml"):
        if block.startswith(("dependencies:", "static_resources:")):  # of another chart, of Envoy
            continue
        (tmp_path / "values.yaml").write_text(block, "utf-8")
        command = ["-m", "dev.helm", "template", "web", "chart", "--values", str(tmp_path / "values.yaml")]
        done = subprocess.run(
            [project / ".venv/bin/python", *command], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert "kind: Deployment" in done.stdout
        rendered += 1
    assert rendered > 3
