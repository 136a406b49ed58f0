"""The page and the picture follow from the results, and the check finds what has become worse."""

import copy
import json
import re
from collections.abc import Callable
from itertools import product
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.check import check, worse
from benchmarks.page import page
from benchmarks.picture import picture
from tests.template import ROOT

RESULTS: dict[str, Any] = json.loads((ROOT / "benchmarks/results.json").read_text(encoding="utf-8"))
LESS = {"ratio": 1.0, "better": "less"}
MORE = {"ratio": 1.0, "better": "more"}


@pytest.mark.parametrize(("file", "made"), [("benchmarks.md", page), ("benchmarks.svg", picture)])
def test_what_is_shown_is_what_was_measured(file: str, made: Callable[[dict[str, Any]], str]) -> None:
    assert (ROOT / "docs" / file).read_text(encoding="utf-8") == made(RESULTS), "run `make bench`"


def test_the_picture_has_a_bar_for_each_figure() -> None:
    drawn = ElementTree.fromstring(picture(RESULTS))  # noqa: S314
    bars = drawn.findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(bars) == len(RESULTS["costs"]) + len(RESULTS["rollouts"])


def test_the_service_lost_nothing() -> None:
    rows = [row for row in RESULTS["rollouts"] if row["variant"] == "service"]
    assert [row["replicas"] for row in rows] == [3, 10, 30]
    assert [row["lost"] for row in rows] == [0, 0, 0]


def test_a_request_costs_about_the_same_while_draining() -> None:
    assert set(RESULTS["draining"]) == {"10,000 idle", "10,000 silent", "10,000 streams"}
    assert all(found["ratio"] < 1.2 for found in RESULTS["draining"].values())


def test_every_feature_has_its_price() -> None:
    prices = {tuple(name.split(": ")) for name in RESULTS["features"]}
    features = {feature for feature, _ in prices}
    assert {"access log", "metrics", "traces at 1 %", "default deadline", "load shedding"} <= features
    assert prices == set(product(features, ("CPU per request", "memory", "start")))


@pytest.mark.parametrize(
    ("recorded", "ratio", "expected"),
    [
        (LESS, 1.09, False),
        (LESS, 1.11, True),
        (LESS, 0.5, False),
        (MORE, 0.91, False),
        (MORE, 0.89, True),
        (MORE, 2.0, False),
    ],
)
def test_worse_is_worse_in_the_direction_that_hurts(recorded: dict[str, Any], ratio: float, expected: bool) -> None:
    assert worse(recorded, ratio) is expected


def test_what_is_worse_once_is_measured_again() -> None:
    ratios = iter([1.5, 1.0, 1.0])
    assert check({"memory": LESS}, {"memory": lambda: {"memory": {"ratio": next(ratios)}}}) == []


def test_what_stays_worse_is_named_with_both_figures() -> None:
    [sentence] = check({"memory": LESS}, {"memory": lambda: {"memory": {"ratio": 1.5}}})
    assert re.match(r"memory: a ratio of 1\.50, and 1\.00 on record", sentence)


def test_what_is_not_on_record_is_an_error() -> None:
    [sentence] = check({}, {"memory": lambda: {"memory": {"ratio": 1.0}}})
    assert "memory is not on record" in sentence


def test_the_page_follows_the_figures() -> None:
    changed = copy.deepcopy(RESULTS)
    changed["rollouts"][0]["lost"] = 4321
    assert "4,321 of" in page(changed)
    assert "4,321 of" in picture(changed)
