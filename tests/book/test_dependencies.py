"""What a cell stands on: found from the source, and hashed so that only code that matters counts."""

import nbformat
import pytest

from book import dependencies
from book.dependencies import digest, names, run, standing_on

new = nbformat.v4


def cells(*sources):
    return [new.new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]


def kept(*sources, ends="explore("):
    return [cell.source for cell in standing_on(cells(*sources), lambda cell: ends in cell.source)]


def test_what_a_cell_stands_on_is_found():
    sources = ["import x", "a = x.y", "b = 2", "a.update()", "c = a", "explore(c)", "c = 0"]
    assert kept(*sources) == ["import x", "a = x.y", "c = a", "explore(c)"]


def test_names_of_inner_scopes_are_not_names_of_the_page():
    assert names("f = lambda t: [t * i + z for i in range(3)]") == ({"f"}, {"z", "range"})
    assert names("def g(x, y=d):\n    k = x\n    return k + h") == ({"g"}, {"d", "h"})
    assert len(kept("i = 3", "w = [i for i in range(2)]", "explore(w)")) == 2


def test_the_last_cell_that_binds_a_name_is_enough_unless_it_uses_the_name_or_may_not_bind_it():
    assert kept("a = 1", "a = 2", "explore(a)") == ["a = 2", "explore(a)"]
    assert kept("a = 1", "a += 2", "explore(a)") == ["a = 1", "a += 2", "explore(a)"]
    assert kept("a = 1", "if b:\n    a = 2", "explore(a)")[0] == "a = 1"
    assert kept("a = 1", "a = 2\nexplore(a)") == ["a = 2\nexplore(a)"]


def test_cells_run_in_one_space_and_give_their_last_values(capsys):
    values = run(cells("a = 2\nprint(a)", "a + 1", "def f():\n    return a\nf()"))
    assert values == {"c0": None, "c1": 3, "c2": 2}
    assert capsys.readouterr().out == ""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes modules of a project of its own, and gives the digest of a cell there."""
    caches = (dependencies._file, dependencies._module, dependencies._definition)
    monkeypatch.setattr(dependencies, "ROOT", tmp_path)

    def of(cell, **modules):
        for name, source in modules.items():
            path = tmp_path / "book" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
        for cache in caches:
            cache.cache_clear()
        return digest(cells(cell))

    yield of
    for cache in caches:
        cache.cache_clear()


CELL = "from book import figures\nexplore(lambda t: figures.draw(t))"
FIGURES = """from book.plots import line, other as another
K = 3

def draw(t):
    'Doc.'
    return line(K * t)
"""
PLOTS = "WIDTH = 1\n\n\ndef line(x):\n    return x + WIDTH\n\n\ndef other():\n    return 1\n"


def test_a_digest_is_that_of_the_code_that_is_reached(project):
    first = project(CELL, __init__="", figures=FIGURES, plots=PLOTS)
    assert project(CELL, figures=FIGURES.replace("Doc.", "Words.") + "# a comment\n") == first
    assert project(CELL.replace("lambda t: figures", "lambda t:  figures") + "  # as before") == first
    assert project(CELL, plots=PLOTS.replace("return 1", "return 2")) == first, "nobody reaches `other`"
    changed = [
        project(CELL.replace("(t)", "(2 * t)")),
        project(CELL, figures=FIGURES.replace("K = 3", "K = 4")),
        project(CELL, figures=FIGURES, plots=PLOTS.replace("WIDTH = 1", "WIDTH = 2")),
        project(CELL, plots=PLOTS.replace("x + WIDTH", "x - WIDTH")),
        project(CELL, figures=FIGURES.replace("line, other as another", "other as line, line as another")),
    ]
    assert len({first, *changed}) == 1 + len(changed)
    assert project(CELL, figures=FIGURES, plots=PLOTS) == first


def test_names_that_a_package_loads_on_first_use_are_found_in_its_modules(project):
    package = "def __getattr__(name):\n    return 1\n"
    cell = "from book import line\nline(1)"
    first = project(cell, __init__=package, plots=PLOTS)
    assert project(cell, plots=PLOTS.replace("WIDTH = 1", "WIDTH = 2")) != first


def test_a_module_that_is_handed_on_counts_as_a_whole(project):
    cell = "from book import plots\nuse(plots)"
    first = project(cell, __init__="", plots=PLOTS)
    assert project(cell, plots=PLOTS.replace("return 1", "return 2")) != first
