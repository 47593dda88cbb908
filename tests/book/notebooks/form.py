"""For `pytest --nbval chapters`: what nbval got from a chapter is held to the book's form, too.

`make test` runs each chapter once, through nbval, with `-p tests.book.notebooks.form`: after the last cell of
a notebook stands one more test, in which the outputs that its cells have just given, brought into the normal
form, are the committed ones to the byte.  `toolkit book --check --twice` asks the same of a run of its own.
"""

import copy

import pytest
from nbval.plugin import IPyNbCell

from book import chapters


class Form(pytest.Item):
    """The test after a notebook's cells."""

    def __init__(self, *, cells, **more):
        super().__init__(**more)
        self.cells = cells

    def runtest(self):
        notebook = copy.deepcopy(self.parent.nb)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        if len(code) != len(self.cells) or any(cell.test_outputs is None for cell in self.cells):
            pytest.fail("not all cells have run, so that the notebook's outputs are not known", pytrace=False)
        for cell, ran in zip(code, self.cells, strict=True):
            cell.outputs = ran.test_outputs
        one = chapters.judged(self.path, notebook)
        if not one.problems:
            chapters.compare(one, twice=True)
        if one.problems:
            pytest.fail("\n".join(f"{self.path.name}: {said}" for said in one.problems), pytrace=False)

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}: in the book's form"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    cells = {}
    for item in items:
        if isinstance(item, IPyNbCell):
            cells.setdefault(item.parent, []).append(item)
    for parent, its in cells.items():
        items.insert(items.index(its[-1]) + 1, Form.from_parent(parent, name="form", cells=its))
