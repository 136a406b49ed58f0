"""The page under a pointer and a keyboard, in the dark, on a small screen and on paper."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drill.result.report import render
from tests.browsers import launched, opened, pages_of, paper, width_of
from tests.drill.sample_report import HOSTILE, make_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(make_report()), "utf-8")
    return path.as_uri()


def point_at(page: "Page", selector: str) -> None:
    """Move the pointer there until the tooltip shows: scrolling hides it."""
    for _ in range(100):
        page.locator(selector).first.hover()
        if page.get_by_role("tooltip").is_visible():
            return
    pytest.fail(f"no tooltip for {selector}")


def tip_within(page: "Page", width: int) -> str:
    """What the tooltip says, which must be inside of the window."""
    tip = page.get_by_role("tooltip")
    found = tip.bounding_box()
    assert found is not None
    assert found["x"] >= 0
    assert found["x"] + found["width"] <= width
    assert found["y"] >= 0
    assert found["y"] + found["height"] <= 900
    return tip.inner_text()


@pytest.mark.parametrize("width", [360, 1200])
def test_a_pointer_gets_details_and_the_time(browser: "Browser", address: str, width: int) -> None:
    with opened(browser, address, width) as page:
        point_at(page, "[data-losses]")
        assert " lost, a1, " in tip_within(page, width)
        time = page.locator(".crosshair[visibility=visible] text")
        assert (time.text_content() or "").startswith("6.")
        side = page.locator(".picture:has(.crosshair[visibility=visible]) .side").first
        assert not side.is_visible(), "the time is in the same place"
        point_at(page, "rect.phase-draining")
        assert tip_within(page, width).startswith("a1 draining")
        page.locator("h1").hover()
        assert not page.get_by_role("tooltip").is_visible()
        point_at(page, "[data-losses][aria-label*='no pod']")
        assert HOSTILE in tip_within(page, width)
        assert page.title() == "example-service: rollout drill", "and has done nothing"


def test_a_keyboard_steps_through_the_losses(browser: "Browser", address: str) -> None:
    with opened(browser, address, 1200) as page:
        losses, focused = page.locator("[data-losses]"), page.locator("[data-losses]:focus")
        left = {loss.get_attribute("aria-label") for loss in losses.all()}
        for _ in range(60):
            page.keyboard.press("Tab")
            if focused.count():
                left.discard(focused.get_attribute("aria-label"))
                assert tip_within(page, 1200), "also where the focus made the page scroll"
        assert left == set()
        page.locator("[data-losses]").first.focus()
        assert page.get_by_role("tooltip").is_visible()
        page.keyboard.press("Escape")
        assert not page.get_by_role("tooltip").is_visible()


def test_a_small_screen_scrolls_pictures_and_not_the_page(browser: "Browser", address: str) -> None:
    with opened(browser, address, 360) as page:
        assert width_of(page) <= 360


def test_in_the_dark_and_on_paper(browser: "Browser", address: str) -> None:
    with opened(browser, address, 1200, color_scheme="dark") as page:
        assert paper(page) < 0.1
        point_at(page, "[data-losses]")
        page.emulate_media(media="print")
        assert paper(page) == 1
        assert not page.get_by_role("tooltip").is_visible()
        assert pages_of(page.pdf(prefer_css_page_size=True)) == 4
