"""Notebooks in JupyterLab in a real browser: they run without error, and sliders move pictures."""

from pathlib import Path

import pytest

from book.plots import is_filler
from tests.book.notebooks.lab import CHROMIUM, Lab, Page

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOKS = [
    "tests/notebooks/fixtures/sample.ipynb",
    "chapters/01_ddpm.ipynb",
    "chapters/02_ddim.ipynb",
    "chapters/03_sde_ode.ipynb",
    "chapters/04_dpm_solver.ipynb",
    "chapters/05_distillation.ipynb",
    "chapters/06_amed.ipynb",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium"
    ),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install .[test]"
    )
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_runs_and_its_slider_moves_the_picture(notebook, browser, tmp_path):
    path = ROOT / notebook
    assert path.is_file()
    with Lab(path.parent, tmp_path) as lab:
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        page = Page(context.new_page(), lab, path.name)
        assert page.run_all() == []
        first = page.widget_pictures()
        assert first, "no picture in a live widget: the chapter needs one explore(...)"
        assert page.unnamed_fields() == [], "fields that a screen reader cannot name"
        moved = page.press(0, "ArrowRight")
        assert len(moved) == len(first), "pictures pile up when the slider moves"
        changed = [k for k, (a, b) in enumerate(zip(first, moved, strict=True)) if a[0] != b[0]]
        assert len(changed) == 1, "one slider moves one picture"
        assert not any(is_filler(alt) for _, alt in moved)
        back = page.press(0, "ArrowLeft")
        assert back == first, (
            "back at the first setting, the picture is another: it depends on more than its controls"
        )
        assert page.errors() == []
        assert page.outside == [], "the page asked for something outside this machine"
        context.close()
