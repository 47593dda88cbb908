"""Notebooks in JupyterLab in a real browser: they run without error, and sliders move pictures.

Of a chapter the cells run here that its widgets stand on; that all of them run, without an error or a
warning, `toolkit book --check` shows in the same kernel without a browser.
"""

from pathlib import Path

import nbformat
import pytest

from book.chapters import read
from book.dependencies import standing_on
from book.plots import is_filler
from book.site.states import shows_widget
from tests.book.notebooks.lab import Lab, Page

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = Path(__file__).parent / "fixtures" / "sample.ipynb"
NOTEBOOKS = {path.name: path for path in [SAMPLE, *sorted((ROOT / "chapters").glob("*.ipynb"))]}
NOTEBOOKS = {name: path for name, path in NOTEBOOKS.items() if "explore(" in path.read_text("utf8")}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """JupyterLab on a folder with all these notebooks."""
    folder = tmp_path_factory.mktemp("notebooks")
    for name, path in NOTEBOOKS.items():
        whole = read(path)
        cells = whole.cells if path == SAMPLE else standing_on(whole.cells, shows_widget)
        nbformat.write(nbformat.from_dict({**whole, "cells": cells}), folder / name)
    with Lab(folder, tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_runs_and_its_slider_moves_the_picture(notebook, browser, lab):
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = Page(context.new_page(), lab, notebook)
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
    assert not any(map(is_filler, page.pictures())), "a picture of the page is not described"
    assert page.errors() == []
    assert page.outside == [], "the page asked for something outside this machine"
    context.close()
    lab.end_kernels()


def test_pictures_have_their_alt_text_in_the_page(browser, tmp_path):
    """A screen reader meets the page and not the file: JupyterLab itself leaves its pictures without any."""
    name = "01_ddpm.ipynb"
    saved = [o for cell in read(NOTEBOOKS[name]).cells for o in cell.get("outputs", ())]
    expected = [o.metadata["image/png"]["alt"] for o in saved if "image/png" in o.get("data", {})]
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / name).write_bytes(NOTEBOOKS[name].read_bytes())
    (tmp_path / "lab").mkdir()
    with Lab(tmp_path / "notebooks", tmp_path / "lab") as lab:
        page = Page(browser.new_page(), lab, name)
        assert len(expected) >= 10 and page.pictures() == expected
