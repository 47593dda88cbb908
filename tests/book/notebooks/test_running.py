"""The book builder: equal bytes from two runs, and one sentence for what a chapter must not do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from book.chapters import BookError, book, build, dumps, lint, normalise, read
from book.threads import FIXED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SAMPLE = Path(__file__).parent / "fixtures" / "sample.ipynb"
PIXEL = "iVBORw0KGgo="
new = nbformat.v4


def notebook(*cells):
    return new.new_notebook(cells=[new.new_code_cell(c) if isinstance(c, str) else c for c in cells])


def saved(tmp_path, *cells):
    path = tmp_path / "one.ipynb"
    nbformat.write(notebook(*cells), path)
    return path


@pytest.fixture(scope="module")
def built():
    return build(SAMPLE)


def test_a_run_gives_the_committed_bytes(built):
    assert built.problems == []
    again = read(SAMPLE)
    assert not [k for cell in again.cells for k in cell.metadata if k in ("execution", "ExecuteTime")]
    assert [c.execution_count for c in again.cells if c.cell_type == "code"] == [1, 2, 3]
    assert build(SAMPLE).text == built.text


def test_normal_form_is_stable_and_keeps_cell_ids(built):
    again = nbformat.reads(built.text, as_version=4)
    ids = [cell.id for cell in again.cells]
    assert normalise(again) == []
    assert dumps(again) == built.text
    assert ids == ["title", "setup", "figure", "widget"]


def test_widget_state_is_dropped_and_alt_text_copied(built):
    again = nbformat.reads(built.text, as_version=4)
    assert set(again.metadata) == {"kernelspec", "language_info"}
    for cell in again.cells[2:]:
        (output,) = cell.outputs
        assert set(output.data) == {"image/png", "text/plain"}
        assert cell.metadata.alt == cell.metadata.mystnb.image.alt == output.metadata["image/png"].alt


def test_check_tells_a_changed_output_and_writes_nothing(tmp_path, capsys):
    path = saved(tmp_path, "print(6 * 7)")
    assert book([path])
    good = path.read_text()
    assert book([path], check=True, twice=True)
    path.write_text(good.replace("42", "41"))
    changed = path.read_text()
    assert not book([path], check=True)
    told = capsys.readouterr().out
    assert "differs from what is committed" in told and "41" in told and "42" in told
    assert path.read_text() == changed


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import warnings; warnings.warn('old')", "writes to stderr"),
        ("1 / 0", "stops with ZeroDivisionError: division by zero"),
        ("object()", "shows a memory address"),
        ("print(object())", "prints a memory address"),
        ("import ipywidgets; ipywidgets.IntSlider()", "a widget without a static picture"),
        (
            "from IPython.display import HTML; HTML('<img src=x alt=plot>')",
            "<img> whose alt text says nothing",
        ),
        ("import os; os._exit(1)", "the kernel died"),
        (
            "import ipywidgets as w\no = w.Output()\nwith o:\n    1 / 0\no",
            "a widget holds the error ZeroDivisionError",
        ),
    ],
)
def test_refused_and_not_written(source, sentence, tmp_path, capsys):
    path = saved(tmp_path, source)
    before = path.read_bytes()
    assert not book([path])
    assert sentence in capsys.readouterr().out
    assert path.read_bytes() == before


def test_picture_without_alt_is_refused():
    output = new.new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"})
    cell = new.new_code_cell("show()", outputs=[output])
    (problem,) = normalise(notebook(cell))
    assert "a picture without alt text" in problem


def test_streams_are_merged_and_overwritten_lines_dropped():
    texts = ["10 %\r", "90 %\r", "done\n", "more\n"]
    cell = new.new_code_cell("go()", outputs=[new.new_output("stream", name="stdout", text=t) for t in texts])
    assert normalise(notebook(cell)) == []
    assert [output.text for output in cell.outputs] == ["done\nmore\n"]


def test_lint():
    assert lint(notebook("x = 1\n" * 25 + "x")) and not lint(notebook("x = 1\n" * 24 + "x"))
    equation = new.new_markdown_cell("$$ a = b \\tag{1.1} $$")
    assert "1 equations with \\tag and 0 markers" in lint(notebook(equation))[0]
    assert not lint(notebook(new.new_markdown_cell("<!-- eq:x.y -->\n$$ a = b \\tag{1.1} $$")))
    assert "alt text says nothing" in lint(notebook(new.new_markdown_cell("![plot](a.png)")))[0]


def test_missing_cell_ids_are_made_up_the_same_way_each_time(tmp_path):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": text} for text in ("one", "one")]
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}))
    assert book([path]) and len({cell.id for cell in read(path).cells}) == 2
    first = path.read_bytes()
    assert book([path]) and path.read_bytes() == first


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not a notebook"),
        ("[1, 2]", "is not a notebook"),
        (
            json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": []}),
            "notebook format 3",
        ),
        (b"\xff\xfe\x00", "cannot be read as a text file"),
    ],
)
def test_files_that_are_no_notebooks(content, sentence, tmp_path):
    path = tmp_path / "bad.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BookError, match=rf"^bad.ipynb: .*{sentence}[^\n]*$"):
        read(path)


def test_nbval_agrees_with_the_committed_outputs_and_the_form_is_looked_at(tmp_path):
    """As `make test` runs the chapters: a copy with another alt text passes nbval, and is told."""
    changed = tmp_path / "changed.ipynb"
    raw = json.loads(SAMPLE.read_text("utf8"))
    raw["cells"][2]["outputs"][0]["metadata"]["image/png"]["alt"] = "a picture of another kind"
    changed.write_text(json.dumps(raw))
    plugins = ("-p", "tests.book.notebooks.form", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "--nbval", "--nbval-current-env", SAMPLE, changed],
        capture_output=True,
        text=True,
        env={**os.environ, **FIXED, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1 and "7 passed" in done.stdout and "1 failed" in done.stdout, done.stdout
    assert "changed.ipynb: differs from what is committed" in done.stdout
