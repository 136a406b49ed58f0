"""The files of a drill: report.json and report.html."""

import json
from pathlib import Path

from drill.errors import DrillError
from drill.result import document, page, text
from drill.result.analysis import Analysis
from drill.result.document import Json


class Report:
    """Grows by a rehearsal at a time; ``write`` writes what there is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rehearsals: list[Json] = []
        self._project = ""

    def add(self, analysis: Analysis) -> None:
        found = analysis.rehearsal
        labels = found.workload.template.labels
        self._project = labels.get("app.kubernetes.io/name", found.workload.name)
        self._rehearsals.append(
            document.rehearsal(analysis, text.title(found.scenario, found.plan))
        )

    def write(self) -> Path:
        """The page. Raises DrillError where nothing can be written."""
        report = document.report(self._project, self._rehearsals)
        path = self._folder / "report.html"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            data = json.dumps(report, indent=1, allow_nan=False)
            (self._folder / "report.json").write_text(data, "utf-8")
            path.write_text(page.render(report), "utf-8")
        except OSError as error:
            raise DrillError(
                f"{path} cannot be written: {error.strerror}; name another folder by --out."
            ) from error
        return path
