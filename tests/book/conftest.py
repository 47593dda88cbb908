"""What tests in a real browser share."""

import pytest

from tests.book.notebooks.lab import CHROMIUM


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright; skips where one of them is missing."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install Debian's package chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install .[test]"
    )
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()
