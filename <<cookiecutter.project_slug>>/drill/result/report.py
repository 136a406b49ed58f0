"""The report files: report.json, and report.html, which needs no other file."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from drill.errors import DrillError
from drill.result import document, text
from drill.result.analysis import Analysis
from drill.result.document import Json

HERE = Path(__file__).parent

#: Joined into one script; each file uses definitions of those before it.
SCRIPTS = ("draw.js", "picture.js", "page.js")


def render(report: Mapping[str, Any]) -> str:
    """Return the page of a report.

    It contains style, script and data, and its content security policy forbids any
    request: it can be opened from disk, attached to a build or sent by mail.
    """
    style = "\n" + _read("page.css")
    script = "\n" + "\n".join(_read(name) for name in SCRIPTS)
    return Template(_read("page.html")).substitute(
        policy=_policy(style, script),
        title=html.escape(f"{report['project']}: rollout drill"),
        style=style,
        script=script,
        report=_embed(report),
    )


def _embed(report: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the script element that contains it."""
    text = json.dumps(report, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _policy(style: str, script: str) -> str:
    """Return a policy that allows only this style, this script and an empty icon."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return (HERE / name).read_text("utf-8")


class Report:
    """Collects rehearsals; ``write`` writes the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rehearsals: list[Json] = []
        self._project = ""

    def add(self, analysis: Analysis) -> None:
        found = analysis.rehearsal
        labels = found.workload.template.labels
        self._project = labels.get("app.kubernetes.io/name", found.workload.name)
        self._rehearsals.append(
            document.rehearsal(analysis, text.title(found.scenario, found.plan, found.backend))
        )

    def write(self) -> Path:
        """Write the files; return the page. Raises DrillError if they cannot be written."""
        report = document.report(self._project, self._rehearsals)
        path = self._folder / "report.html"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            data = json.dumps(report, indent=1, allow_nan=False)
            (self._folder / "report.json").write_text(data, "utf-8")
            path.write_text(render(report), "utf-8")
        except OSError as error:
            raise DrillError(
                f"{path} cannot be written: {error.strerror}; choose another folder with --out."
            ) from error
        return path
