"""A browser for the tests of pages; they are skipped where there is none."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


@contextlib.contextmanager
def launched() -> "Iterator[Browser]":
    """A browser that is closed at the end."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is on the PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: "Browser", address: str, width: int, **options: object) -> "Iterator[Page]":
    """The page in a window of its own; every complaint of the browser fails the test."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address], "and nothing else"
    context.close()


def luminance(colour: str) -> float:
    """WCAG's relative luminance of ``rgb(1, 2, 3)``."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def paper(page: "Page") -> float:
    """The luminance of the page's background; 1 is white."""
    colour = "body => getComputedStyle(body).backgroundColor"
    return luminance(page.locator("body").evaluate(colour))


def width_of(page: "Page") -> int:
    """How far the page goes to the right, seen or not."""
    width: int = page.locator("html").evaluate("root => root.scrollWidth")
    return width


def pages_of(printed: bytes) -> int:
    """How many pages a PDF has."""
    return len(re.findall(rb"/Type\s*/Page\b", printed))
