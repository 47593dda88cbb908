"""The site in a real browser, opened from its folder: no server, no network."""

import re

import pytest

from tests.book.notebooks.lab import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium"
    ),
]
PAGES = ["index", "chapters/01_ddpm", "chapters/A_claims_tested", "exercises/02_ddim", "glossary", "notation",
         "bibliography", "errata", "reference/toolkit.dpm_solver", "docs/grading"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page that notes what it is refused and what it asks of a network."""
    shown = browser.new_page(viewport={"width": 1280, "height": 900})
    shown.wrong = []
    shown.on("console", lambda said: shown.wrong.append(said.text) if said.type == "error" else None)
    shown.on("pageerror", lambda error: shown.wrong.append(str(error)))
    outward = lambda url: not url.startswith(("file:", "data:"))
    shown.on("request", lambda asked: shown.wrong.append(asked.url) if outward(asked.url) else None)
    yield shown
    shown.close()


@pytest.mark.parametrize("width", [320, 1100, 2560])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_a_folder_and_fits_the_window(site, page, name, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((site / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.wrong == []


def test_search_finds_a_term_and_leads_to_its_page(site, page):
    page.goto((site / "index.html").as_uri())
    page.locator("input.sidebar-search").fill("Tweedie")
    page.keyboard.press("Enter")
    found = page.locator("ul.search li a")
    found.first.wait_for()
    there = found.evaluate_all("all => all.map(one => one.href)")
    assert {"01_ddpm.html", "glossary.html"} <= {one.partition("#")[0].rpartition("/")[2] for one in there}
    found.first.click()
    page.get_by_text("Tweedie").first.wait_for()
    assert page.wrong == []


def test_a_formula_is_drawn_and_its_number_leads_to_it(site, page):
    page.goto((site / "chapters/01_ddpm.html").as_uri() + "#eq-1-2")
    box = page.locator("#eq-1-2 math").bounding_box()
    assert box["width"] > 100 and 20 < box["height"] < 100
    in_sight = "Math.abs(document.getElementById('eq-1-2').getBoundingClientRect().top) < 600"
    page.wait_for_function(in_sight)  # the page may glide there
    page.locator("a.reference[href='#eq-1-4']").first.click()
    assert page.url.endswith("#eq-1-4")


def test_what_is_wider_than_the_window_is_reached_by_the_keyboard(site, page):
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto((site / "chapters/04_dpm_solver.html").as_uri())
    lost = page.evaluate(
        """() => [...document.querySelectorAll("article *")].filter(one => one.checkVisibility()
             && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === "auto"
             && one.tabIndex < 0).map(one => one.outerHTML.slice(0, 80))"""
    )
    assert lost == []
    assert page.locator(".formula[tabindex='0']").count() > 3


def test_a_link_into_what_is_folded_opens_it(site, page):
    page.goto((site / "exercises/02_ddim.html").as_uri())
    page.evaluate("document.querySelector('article details p').id = 'within'; location.hash = 'within'")
    page.locator("#within").wait_for(state="visible")


def test_both_themes_can_be_had(site, page):
    page.goto((site / "chapters/02_ddim.html").as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    page.emulate_media(color_scheme="light")
    assert dark != page.evaluate(colour)
    page.locator(".theme-toggle:visible").first.click()
    assert page.evaluate("document.body.dataset.theme") in ("light", "dark")


def test_a_chapter_prints_whole(site, page):
    """What is folded is open on paper, and pictures that were not yet scrolled to are there."""
    page.goto((site / "chapters/03b_solvers.html").as_uri())
    page.evaluate(
        """() => addEventListener("beforeprint", () => {
             window.folded = document.querySelectorAll("article details:not([open])").length })"""
    )
    printed = page.pdf(format="A4")
    assert page.evaluate("window.folded") == 0 and page.locator("article details[open]").count() == 0
    pictures = page.locator("article .cell_output img").count()
    assert len(re.findall(rb"/Subtype\s*/Image", printed)) >= pictures >= 10
