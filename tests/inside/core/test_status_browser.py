"""The status in a browser: without scripts, in the dark, on a small screen and on paper."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from tests.apps.status import NEEDS
from tests.browsers import launched, luminance, opened, pages_of, paper, width_of
from tests.harness import HOST, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Locator, Page

APPLICATION = "tests.apps.status"
#: What is read: names, values, hints and marks.
LEGIBLE = (
    *("h1", "h2", ".phase", ".muted", "a", "thead th", "code", ".good", ".bad"),
    *(".phases .ahead", ".phases [aria-current] span", ".graph .small"),
)
#: Pixels between the margins of A4, at 96 an inch: what is wider is cut off.
A4 = 688


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(browser: "Browser") -> Iterator[str]:
    with running(APPLICATION, POD_NAME="web-1", APP_REQUESTS__MAX_IN_FLIGHT="9") as service:
        service.ready()
        for number in range(3):
            path = f"/v1/orders/a/items/{number}?seconds=600"
            service.connect().ask(path, x_request_id=f"number-{number}")
        service.connect().ask("/events")
        service.busy(3)
        yield f"http://{HOST}:{service.management_port}/statusz"


def contrast(page: "Page", selector: str) -> float:
    """Between the first such text and what is behind it."""
    colours = """element => {
      const own = getComputedStyle(element);
      let at = element;
      while (at && getComputedStyle(at).backgroundColor === "rgba(0, 0, 0, 0)")
        at = at.parentElement;
      return [
        element instanceof SVGElement ? own.fill : own.color,
        getComputedStyle(at ?? document.body).backgroundColor,
      ];
    }"""
    found = page.locator(selector).first.evaluate(colours)
    darker, lighter = sorted(map(luminance, found))
    return (lighter + 0.05) / (darker + 0.05)


def box(of: "Locator") -> "FloatRect":
    found = of.bounding_box()
    assert found is not None
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible(browser: "Browser", address: str, scheme: str) -> None:
    with opened(browser, address, 1200, color_scheme=scheme, java_script_enabled=False) as page:
        assert page.title().startswith("ready · web-1 · ")
        assert page.get_by_role("heading", level=1).inner_text().split() == ["web-1", "ready"]
        assert (paper(page) < 0.5) is (scheme == "dark")
        for selector in LEGIBLE:
            assert contrast(page, selector) >= 4.5, selector


def test_it_is_there_for_those_who_do_not_see_it(browser: "Browser", address: str) -> None:
    with opened(browser, address, 1200) as page:
        table = page.get_by_role("region", name="Requests in flight")
        assert table.get_by_role("columnheader").all_inner_texts()[:2] == ["age", "method"]
        assert table.get_by_role("row").count() == 4
        image = page.get_by_role("img", name="What the components need")
        assert "outbox is running and needs database and queue" in (image.text_content() or "")
        current = page.locator("[aria-current=step]")
        assert current.inner_text().startswith("ready")


@pytest.mark.parametrize("width", [320, 768])
def test_on_a_small_screen_tables_scroll_and_the_page_does_not(
    browser: "Browser", address: str, width: int
) -> None:
    with opened(browser, address, width) as page:
        assert width_of(page) <= width
        for part in page.locator("h1, .phases li, .figures div").all():
            assert box(part)["x"] + box(part)["width"] <= width


def test_boxes_of_the_graph_are_apart_and_hold_their_names(
    browser: "Browser", address: str
) -> None:
    with opened(browser, address, 1200) as page:
        components = page.locator(".component").all()
        assert len(components) == len(NEEDS)
        boxes = [box(component.locator("rect")) for component in components]
        for one, other in combinations(boxes, 2):
            beside = abs(one["x"] - other["x"]) >= one["width"]
            assert beside or abs(one["y"] - other["y"]) >= one["height"]
        for component, around in zip(components, boxes, strict=True):
            for text in component.locator("text").all():
                assert box(text)["x"] + box(text)["width"] <= around["x"] + around["width"]
        assert page.locator("path.need").count() == sum(map(len, NEEDS.values()))


def test_on_paper_it_is_light_and_whole(browser: "Browser", address: str) -> None:
    with opened(browser, address, A4, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert paper(page) == 1
        assert not page.locator(".links").is_visible()
        assert width_of(page) <= A4
        assert 2 <= pages_of(page.pdf(prefer_css_page_size=True)) <= 6
