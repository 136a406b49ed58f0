"""Finish a new project: remove unwanted files, create its repository, suggest the next commands.

cookiecutter renders this file and runs it in the new folder. Standard library only, no network.
Which files belong to which answer is data: `_features` in cookiecutter.json.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# JSON in a raw string: this stays valid Python whatever was answered.
ANSWERS = json.loads(r"""<< cookiecutter | tojson >>""")

PROJECT = Path.cwd()

# Set by git while it runs a hook of its own; with them `git init` would act on that other repository.
GIT_LOCATION = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}


def prune() -> None:
    """Keep a path of the manifest only where some answer has a value that lists it."""
    listed: set[str] = set()
    wanted: set[str] = set()
    for answer, values in ANSWERS["_features"].items():
        given = ANSWERS[answer]
        wanted.update(values.get(given if isinstance(given, str) else json.dumps(given), {}).get("files", []))
        listed.update(path for brings in values.values() for path in brings["files"])
    for path in sorted(listed):
        if not (PROJECT / path).exists():
            sys.exit(f'_features in cookiecutter.json names "{path}", which is not in the template.')
    for path in sorted(listed - wanted):
        if (PROJECT / path).is_dir():
            shutil.rmtree(PROJECT / path)
        else:
            (PROJECT / path).unlink(missing_ok=True)
        folder = (PROJECT / path).parent
        while folder != PROJECT and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def is_comparison() -> bool:
    """Whether cruft (`update`, `diff`) renders only to compare, in a temporary folder of its own.

    cruft does not tell its hooks. It leaves its mark in the answers, though, and `tempfile` one in the path.
    """
    folder = PROJECT.parent
    return (
        "_commit" in ANSWERS
        and folder.parent == Path(tempfile.gettempdir()).resolve()
        and re.fullmatch(r"tmp[a-z0-9_]{8}", folder.name) is not None
    )


def start_repository() -> str:
    """`git init`, unless there is a repository already; returns what happened, as a sentence."""
    if (PROJECT / ".git").exists():
        return "The existing git repository was not changed."
    environment = {name: value for name, value in os.environ.items() if name not in GIT_LOCATION}

    def git(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["git", *arguments], env=environment, capture_output=True, text=True, check=False)

    try:
        outer = git("rev-parse", "--show-toplevel")
        if outer.returncode == 0:
            return f"The folder is inside the git repository {outer.stdout.strip()}, so none was created."
        made = git("-c", "init.defaultBranch=main", "init", "--quiet")
    except FileNotFoundError:
        return "git is not installed, so no repository was created: run `git init` later."
    if made.returncode != 0:
        return f"No repository was created, because git failed: {made.stderr.strip()}"
    return "A git repository was created, with the branch main."


def main() -> None:
    prune()
    if is_comparison():
        return
    last = "make run      # start the service"
    if ANSWERS["drill"] == "yes":
        last = "make drill    # rehearse a rolling update under load; `make run` starts the service"
    here = os.environ.get("PWD") == str(PROJECT.parent)
    print(
        f"\n{ANSWERS['project_slug']} is in {PROJECT}.",
        start_repository(),
        "Try next:\n",
        f"  cd {shlex.quote(PROJECT.name if here else str(PROJECT))}",
        "  make setup    # install the dependencies",
        f"  {last}\n",
        sep="\n",
    )


if __name__ == "__main__":
    main()
