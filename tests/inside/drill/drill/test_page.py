"""The page says what the report says: read back from a browser's DOM, and from its source."""

import json
import re
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from drill.result.report import render
from tests.drill.sample_report import HOSTILE, REMEDY, make_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Elements(HTMLParser):
    """Every element with its attributes, and the text inside of each script."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        tag = self.elements[-1][0] if self.elements else ""
        if tag == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module")
def report() -> Any:
    return make_report()


@pytest.fixture(scope="module")
def dom(report: Any) -> Elements:
    """What a browser makes of the page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(render(report), "utf-8")
        done = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
                *(f"--user-data-dir={folder}/profile", path.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=180,
        )
    return Elements(done.stdout)


def test_the_sample_is_a_report(report: Any) -> None:
    schema = json.loads((Path(__file__).with_name("report.schema.json")).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)


def test_the_page_carries_the_report_and_needs_nothing_else(report: Any) -> None:
    source = render(report)
    elements = Elements(source)
    carried = next(text for text in elements.scripts if text.lstrip().startswith("{"))
    assert json.loads(carried) == report
    assert "default-src 'none'" in next(v for v in elements.values("content") if "src" in v)
    assert not [v for n in ("src", "href") for v in elements.values(n) if v[0] not in "#d"]
    assert not re.search(r"@import|url\(\W*http", source)


def test_every_pod_has_a_lane_with_its_phases(report: Any, dom: Elements) -> None:
    pods = [pod for one in report["rehearsals"] if not one["skipped"] for pod in one["pods"]]
    lanes = [name for name in dom.values("data-lane") if name]
    assert sorted(lanes) == sorted(pod["name"] for pod in pods)
    drawn = dom.values("data-phase")
    expected = [p["phase"] for pod in pods for p in pod["phases"] if p["phase"] != "gone"]
    assert sorted(phase for phase in drawn if phase != "gone") == sorted(expected)


def test_losses_are_drawn_and_say_why(report: Any, dom: Elements) -> None:
    losses = [loss for one in report["rehearsals"] if not one["skipped"] for loss in one["losses"]]
    assert sum(map(int, dom.values("data-losses"))) == len(losses)
    told = "\n".join(dom.values("data-tip"))
    assert REMEDY.replace("`", "") in told.replace("`", "")


def test_the_verdict_and_the_faults_are_words(report: Any, dom: Elements) -> None:
    for one in report["rehearsals"]:
        if not one["skipped"]:
            assert one["verdict"] in dom.text
    faults = [len(one["faults"]) for one in report["rehearsals"] if not one["skipped"]]
    assert [int(count) for count in dom.values("data-faults")] == faults


def test_what_a_service_says_is_text_and_nothing_else(dom: Elements) -> None:
    assert HOSTILE in "\n".join(dom.values("data-tip"))
    assert "broken" not in dom.text.split("\n", 1)[0]
