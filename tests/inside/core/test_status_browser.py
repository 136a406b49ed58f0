"""The page in a browser: without scripts, in the dark, on a small screen and on paper."""

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.apps.status import NEEDS
from tests.harness import HOST, Service, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on the PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(browser: "Browser") -> Iterator[Service]:
    settings = {"POD_NAME": "web-1", "APP_REQUESTS__MAX_IN_FLIGHT": "100"}
    with running("tests.apps.status", **settings) as service:
        service.ready()
        for number in range(3):
            path = f"/v1/orders/a/items/{number}?seconds=600"
            service.connect().ask(path, **{"x-request-id": f"number-{number}"})
        service.connect().ask("/events")
        service.busy(3)
        yield service


def opened(browser: "Browser", service: Service, width: int, **options: object) -> "Page":
    """The page, without JavaScript; every complaint of the browser fails the test."""
    context = browser.new_context(  # type: ignore[misc]
        viewport={"width": width, "height": 900}, java_script_enabled=False, **options
    )
    page = context.new_page()
    asked: list[str] = []
    page.on("console", lambda message: pytest.fail(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://{HOST}:{service.management_port}/statusz")
    assert [url for url in asked if not url.startswith("data:")] == [page.url], "and nothing else"
    return page


def luminance(colour: str) -> float:
    """WCAG's relative luminance of ``rgb(1, 2, 3)``."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(page: "Page", selector: str) -> float:
    """Between the text of the first such element and what is behind it."""
    style = (
        "element => { let at = element; const fill = getComputedStyle(element);"
        "const ink = element.namespaceURI.endsWith('svg') ? fill.fill : fill.color;"
        "while (at && getComputedStyle(at).backgroundColor === 'rgba(0, 0, 0, 0)')"
        " at = at.parentElement;"
        "return [ink, at ? getComputedStyle(at).backgroundColor : 'rgb(255, 255, 255)'] }"
    )
    ink, paper = page.locator(selector).first.evaluate(style)
    darker, lighter = sorted((luminance(ink), luminance(paper)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible(browser: "Browser", service: Service, scheme: str) -> None:
    page = opened(browser, service, 1200, color_scheme=scheme)
    assert page.title().startswith("ready · web-1 · ")
    assert page.get_by_role("heading", level=1).inner_text().split() == ["web-1", "ready"]
    paper = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert (luminance(paper) < 0.5) is (scheme == "dark")
    for selector in (
        "h1",
        ".phase",
        ".muted",
        "a",
        "thead th",
        "code",
        ".good",
        ".bad",
        ".phases .ahead",
        ".phases [aria-current] span",
        ".graph .small",
    ):
        assert contrast(page, selector) >= 4.5, selector
    page.context.close()


def test_it_is_there_for_those_who_do_not_see_it(browser: "Browser", service: Service) -> None:
    page = opened(browser, service, 1200)
    table = page.get_by_role("region", name="Requests in flight")
    assert table.get_by_role("columnheader").all_inner_texts()[:2] == ["age", "method"]
    assert table.get_by_role("row").count() == 4
    image = page.get_by_role("img", name="What the components need")
    assert "outbox is running and needs database and queue" in (image.text_content() or "")
    assert page.get_by_role("listitem").filter(has_text="ready").first.get_attribute("aria-current")
    page.context.close()


@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_narrow_screen_scrolls_tables_not_the_page(
    browser: "Browser", service: Service, width: int
) -> None:
    page = opened(browser, service, width)
    root = page.locator("html")
    assert root.evaluate("root => root.scrollWidth") <= width
    for box in page.locator("h1, .phases li, .figures div").all():
        found = box.bounding_box()
        assert found is not None
        assert found["x"] + found["width"] <= width
    page.context.close()


def test_boxes_and_lines_of_the_graph(browser: "Browser", service: Service) -> None:
    """No box covers another, and names are inside of theirs."""
    page = opened(browser, service, 1200)
    boxes = [one.bounding_box() for one in page.locator(".component rect").all()]
    assert len(boxes) == 12
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert one is not None
            assert other is not None
            apart = (
                one["x"] + one["width"] <= other["x"]
                or other["x"] + other["width"] <= one["x"]
                or one["y"] + one["height"] <= other["y"]
                or other["y"] + other["height"] <= one["y"]
            )
            assert apart
    for component in page.locator(".component").all():
        box = component.locator("rect").bounding_box()
        for text in component.locator("text").all():
            inner = text.bounding_box()
            assert box is not None
            assert inner is not None
            assert inner["x"] + inner["width"] <= box["x"] + box["width"]
    assert page.locator("path.need").count() == sum(map(len, NEEDS.values()))
    page.context.close()


def test_on_paper_it_is_light_and_whole(browser: "Browser", service: Service) -> None:
    page = opened(browser, service, 1200, color_scheme="dark")
    page.emulate_media(media="print")
    paper = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert luminance(paper) == 1
    assert not page.locator(".links").is_visible()
    # The width of A4 between the margins, at 96 pixels an inch: what is wider is cut off.
    page.set_viewport_size({"width": 688, "height": 1000})
    assert page.locator("html").evaluate("root => root.scrollWidth") <= 688
    printed = page.pdf(prefer_css_page_size=True)
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
    page.context.close()
