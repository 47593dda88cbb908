"""Notebooks in JupyterLab in a real browser: they run without error, and sliders move pictures.

Of a chapter the cells run here that its widgets stand on; that all of them run, without an error or a
warning, `toolkit book --check` shows in the same kernel without a browser.
"""

import ast
from pathlib import Path

import nbformat
import pytest

from book.chapters import read
from book.plots import is_filler
from tests.book.notebooks.lab import CHROMIUM, Lab, Page

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = Path(__file__).parent / "fixtures" / "sample.ipynb"
NOTEBOOKS = {path.name: path for path in [SAMPLE, *sorted((ROOT / "chapters").glob("*.ipynb"))]}
NOTEBOOKS = {name: path for name, path in NOTEBOOKS.items() if "explore(" in path.read_text("utf8")}

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


def names(source):
    """(names that a cell binds, names that it uses)."""
    nodes = list(ast.walk(ast.parse(source)))
    used = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in used if isinstance(node.ctx, ast.Store)}
    bound |= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    bound |= {(one.asname or one.name).split(".")[0] for node in imports for one in node.names}
    return bound, {node.id for node in used}


def widgets_and_what_they_stand_on(notebook):
    """The notebook with those code cells only that show a widget, or bind what one of these uses, in turn."""
    wanted, kept = set(), []
    for cell in reversed(notebook.cells):
        bound, used = names(cell.source) if cell.cell_type == "code" else (set(), set())
        if "explore(" in cell.source or bound & wanted:
            wanted |= used
            kept.insert(0, cell)
    return nbformat.from_dict({**notebook, "cells": kept})


def test_what_a_widget_stands_on_is_found():
    sources = ["import x", "a = x.y", "b = 2", "a.update()", "c = a", "explore(c)", "c = 0"]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    kept = widgets_and_what_they_stand_on(made).cells
    assert [cell.source for cell in kept] == ["import x", "a = x.y", "c = a", "explore(c)"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a folder with all these notebooks."""
    folder = tmp_path_factory.mktemp("notebooks")
    for name, path in NOTEBOOKS.items():
        whole = read(path)
        nbformat.write(whole if path == SAMPLE else widgets_and_what_they_stand_on(whole), folder / name)
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
