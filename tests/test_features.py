"""The manifest, `_features` in cookiecutter.json: what belongs to which answer, files above all."""

from pathlib import Path

import pytest

from tests.template import BODY, QUESTIONS, Template, files_in

FEATURES = {
    "database": {
        "postgresql": {"files": ["src/app/database", "src/app/sql.py", "docs/postgresql.md", "src/app/parts/all.py"]},
        "sqlite": {"files": ["src/app/sql.py", "docs/sqlite.md"]},
        "none": {"files": ["docs/stateless.md"]},
    },
    "metrics": {"true": {"files": ["src/app/metrics.py", "src/app/database/metrics.py", "src/app/parts/all.py"]}},
}


@pytest.fixture
def rich_template(template: Template) -> Template:
    """A template with two answers more, one of them yes or no, and files that belong to them."""
    template.ask(database=["postgresql", "sqlite", "none"], metrics=True, _features=FEATURES)
    for values in FEATURES.values():
        for path in (path for brings in values.values() for path in brings["files"] if "." in path):
            template.write(path)
    template.write("src/app/database/pool.py")
    template.write("src/app/main.py")
    return template


@pytest.mark.parametrize(
    ("answers", "files"),
    [
        (
            {"database": "postgresql", "metrics": "yes"},
            {
                "src/app/database/pool.py",
                "src/app/database/metrics.py",
                "src/app/sql.py",
                "src/app/metrics.py",
                "src/app/parts/all.py",
                "docs/postgresql.md",
            },
        ),
        (
            {"database": "postgresql", "metrics": "no"},
            {"src/app/database/pool.py", "src/app/sql.py", "src/app/parts/all.py", "docs/postgresql.md"},
        ),
        (
            {"database": "sqlite", "metrics": "yes"},
            {"src/app/sql.py", "src/app/metrics.py", "src/app/parts/all.py", "docs/sqlite.md"},
        ),
        ({"database": "none", "metrics": "no"}, {"docs/stateless.md"}),
    ],
    ids=["everything", "one-feature-inside-another", "paths-of-two-values-and-answers", "nothing"],
)
def test_files_follow_the_answers(rich_template: Template, answers: dict[str, str], files: set[str]) -> None:
    project = rich_template.bake(**answers)
    assert {path.as_posix() for path in files_in(project)} == files | {"README.md", "src/app/main.py"}


def test_a_folder_without_files_is_removed_with_the_last_one(rich_template: Template) -> None:
    assert (rich_template.bake(database="postgresql", metrics="no") / "src/app/parts").is_dir()
    assert not (rich_template.bake(database="none", metrics="no") / "src/app/parts").exists()


def test_baking_again_follows_the_new_answers(rich_template: Template) -> None:
    rich_template.bake(database="none")
    project = rich_template.bake(database="sqlite")
    assert (project / "src/app/sql.py").exists()
    assert not (project / "docs/stateless.md").exists()


def test_a_path_that_is_not_there_is_an_error(template: Template, capfd: pytest.CaptureFixture[str]) -> None:
    template.ask(database=["none", "sqlite"], _features={"database": {"sqlite": {"files": ["src/app/sq1.py"]}}})
    with pytest.raises(Exception, match="Hook script failed"):
        template.bake()
    assert (
        capfd.readouterr().err
        == '_features in cookiecutter.json names "src/app/sq1.py", which is not in the template.\n'
    )
    assert list(template.output.iterdir()) == []


def test_an_error_removes_nothing_first(rich_template: Template) -> None:
    project = rich_template.bake()
    rich_template.ask(_features={"metrics": {"true": {"files": ["README.md"]}, "false": {"files": ["missing"]}}})
    with pytest.raises(Exception, match="Hook script failed"):
        rich_template.bake(metrics="no")
    assert (project / "README.md").exists()


def test_the_manifest_names_answers_that_exist() -> None:
    for answer, values in QUESTIONS["_features"].items():
        asked = QUESTIONS[answer]
        choices = {"true", "false"} if isinstance(asked, bool) else set(asked)
        assert set(values) <= choices, f"{answer} has no such values"


def test_the_manifest_knows_these_kinds_of_things() -> None:
    kinds = {kind for values in QUESTIONS["_features"].values() for brings in values.values() for kind in brings}
    assert kinds <= {"files", "dependencies", "settings", "values"}


def test_the_manifest_names_paths_inside_the_body() -> None:
    for values in QUESTIONS["_features"].values():
        for path in (path for brings in values.values() for path in brings["files"]):
            assert not Path(path).is_absolute()
            assert ".." not in Path(path).parts
            assert (BODY / path).exists()
