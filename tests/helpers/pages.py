"""Pages in a real headless browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_chromium = [
    pytest.mark.ci,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


@contextmanager
def started_browser() -> Iterator[Any]:
    """Start the browser, and yield it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # root cannot use the sandbox
        yield one
        one.close()


@contextmanager
def opened(browser: Any, address: str, width: int = 1000, scheme: str = "light") -> Iterator[Any]:
    """Open a page and yield it. It must ask no other address, and its console must stay empty."""
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda asked: asked.url.startswith(address.partition("#")[0]) or complaints.append(asked.url))
    page.goto(address)
    yield page
    context.close()
    assert complaints == []


def shown(page: Any, selector: str, expected: str) -> None:
    """Wait until the element contains this text."""
    page.wait_for_function("([s, t]) => document.querySelector(s).textContent.includes(t)", arg=[selector, expected])


# WCAG 2.2 asks for a contrast of 4.5 to 1 (1.4.3, AA).
CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (color) => {
        const [r, g, b] = rgba(color).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        return rgba(color)[3] ? color : behind(element.parentElement);
    };
    const low = [];
    for (const element of document.querySelectorAll("body *")) {
        const text = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || element.value;
        if (!text || !element.checkVisibility()) continue;
        const [light, dark] = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => b - a);
        const contrast = (light + 0.05) / (dark + 0.05);
        if (contrast < 4.5) low.push([element.tagName, element.className, element.textContent, contrast]);
    }
    return low;
}"""
