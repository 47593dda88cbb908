"""What is staged for a student's kernel can be imported there: every module, and every line of a chapter."""

import ast
import json
from pathlib import Path

import pytest

from book import folders
from book.chapters import read
from book.grading import sandbox, staging

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PACKAGES = ("toolkit", "book")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A folder staged for every lesson."""
    return staging.stage(tmp_path_factory.mktemp("stage"), folders.chapters("tasks.py"))


@pytest.fixture(scope="module")
def kernel(stage):
    """A student's kernel on it."""
    with sandbox.Sandbox(stage, ["torch"], sandbox.Limits()) as box:
        one = box.kernel()
        yield one
        one.close()


def failing(kernel, lines):
    """The lines that do not run in a kernel, each with its error."""
    source = f"""
import json
failing = {{}}
for line in {lines!r}:
    try: exec(line, {{}})
    except BaseException as error: failing[line] = repr(error)
print(json.dumps(failing))"""
    ran = kernel.run(source, 300.0, 5_000_000)
    assert not ran.ename and not ran.stopped, ran
    return json.loads(ran.text.splitlines()[-1])


def test_every_staged_module_can_be_imported(kernel, stage):
    there = stage / staging.PACKAGES
    parts = [path.relative_to(there).with_suffix("").parts for path in sorted(there.rglob("*.py"))]
    names = [".".join(part for part in one if part != "__init__") for one in parts]
    assert {name.split(".")[0] for name in names} == set(PACKAGES) and len(names) > 60
    assert failing(kernel, [f"import {name}" for name in names]) == {}


def test_every_import_of_a_chapter_works(kernel):
    """A line of imports that a student copies from a chapter."""
    lines = {}
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        for cell in read(path).cells:
            for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
                ours = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                ours += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] in PACKAGES for name in ours):
                    lines[ast.unparse(node)] = path.name
    assert {name[:2] for name in lines.values()} >= set(folders.chapters("figures.py"))
    assert failing(kernel, list(lines)) == {}
