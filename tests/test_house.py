"""Which part may import which: toolkit ← book ← studies, benchmarks and tests; and what toolkit stands on."""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The samplers, their modules in the order of the chapters that derive them, and what all of these stand on.
CHAPTERS = {
    "ddpm": 1,
    "ddim": 2,
    "sde": 3,
    "ode": 3,
    "exponential": 4,
    "dpm_solver": 4,
    "multistep": 4,
    "distill": 5,
    "distilled": 5,
    "amed": 6,
    "flow_maps": 7,
    "learned": 7,
    "practice": 8,
    "conditions": 8,
    "scales": 8,
    "masked": 8,
}
FOUNDATION = {"schedules", "models", "mixtures", "grids", "noise", "sampling", "convergence"}
FOUNDATION |= {"networks", "training", "data", "metrics", "files", "citing", "options", "graphs", "_normals"}
FOUNDATION |= {"interop", "draw"}
DOOR = "toolkit/lessons/__init__.py"  # to the exercises' checks, for exercises handed out long ago
NEVER = ("matplotlib", "typer", "nbformat", "sympy", "IPython", "book")


@functools.cache
def parsed(folder):
    """{path below the project: syntax tree} of the Python files in a folder; no test changes them."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf8")) for path in paths}


@pytest.fixture(scope="module", autouse=True)
def trees_are_let_go():
    """They take some hundred megabytes, and the tests of this file alone look at them."""
    yield
    parsed.cache_clear()


def sources(*folders):
    """The same of several folders."""
    return {path: tree for folder in folders for path, tree in parsed(folder).items()}


def imported(tree):
    """What is imported anywhere in a tree, inside functions too: modules, and names that may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong(folder, forbidden):
    """'file imports name' for what a folder imports although the pattern forbids it."""
    found = ((path, name) for path, tree in sources(folder).items() for name in imported(tree))
    return [f"{path} imports {name}" for path, name in found if re.match(forbidden, name) and path != DOOR]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("toolkit", r"(book|studies|benchmarks|tests)\b"),
        ("book", r"(studies|benchmarks|tests)\b"),
        ("studies", r"tests\b"),
    ],
)
def test_no_import_against_the_direction(folder, forbidden):
    assert not wrong(folder, forbidden)


def test_figures_are_handed_their_data():
    """A figure that imported an experiment could not be imported beside a student's answer."""
    figures = {path: tree for path, tree in sources("book").items() if path.endswith("/figures.py")}
    assert len(figures) >= 7
    found = [(path, name) for path, tree in figures.items() for name in imported(tree)]
    assert not [pair for pair in found if re.match(r"book\.ch\d\d\.experiments\b", pair[1])]


def test_imports_are_absolute():
    paths = [path for folder in OURS for path in (ROOT / folder).rglob("*.py")]
    code = {path: path.read_text("utf8") for path in paths}
    # most files have no such words, and need not be parsed
    trees = {path: ast.parse(text) for path, text in code.items() if re.search(r"\bfrom[\s\\]*\.", text)}
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    assert not [path for path, node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def test_a_chapter_s_sampler_stands_on_earlier_ones_only():
    modules = {Path(path).stem: tree for path, tree in sources("toolkit").items() if path.count("/") == 1}
    del modules["__init__"]
    assert set(modules) == FOUNDATION | set(CHAPTERS), "a new module needs its place in the lists above"
    against = []
    for module, tree in modules.items():
        for name in imported(tree):
            _, other, *_ = [*name.split("."), ""]
            if name.startswith("toolkit.") and CHAPTERS.get(other, 0) > CHAPTERS.get(module, 0):
                against.append(f"{module} imports {other}")
    assert not against


DOORS = {"interop", "draw", "graphs"}  # to other libraries, more processes, a GPU: nobody reads them to learn


def test_the_toolkit_can_be_read_in_a_few_evenings():
    lines = {path.stem: len(path.read_text("utf8").splitlines()) for path in (ROOT / "toolkit").glob("*.py")}
    # 8,300 of them for chapters 0 to 6, the rest for 7 and 8
    assert sum(count for name, count in lines.items() if name not in DOORS) <= 10_000
    assert sum(lines[name] for name in DOORS) <= 1500


# --- one hand -------------------------------------------------------------------------------------------

OURS = ("toolkit", "book", "studies", "benchmarks", "tests")


def texts(*folders):
    """(path below the project, number, line) of every line of the Python files in these folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for number, line in enumerate(path.read_text("utf8").splitlines(), 1):
                yield f"{path.relative_to(ROOT)}:{number}", line


def test_rulers_have_one_form():
    """`# --- part ---`, drawn up to the margin."""
    odd = [at for at, line in texts(*OURS) if re.match(r"# ?-{2,}|# ?={2,}", line)
           and not re.fullmatch(r"# --- .*[^-] -{3,}", line)]  # fmt: skip
    assert not odd


def test_errors_end_without_a_full_stop():
    """A ValueError's text is a clause that the one who shows it may put into a sentence."""
    odd = []
    for path, tree in sources("toolkit", "book").items():
        for node in ast.walk(tree):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "ValueError" and call.args:
                text = call.args[0]
                last = text.values[-1] if isinstance(text, ast.JoinedStr) else text
                if isinstance(last, ast.Constant) and str(last.value).endswith("."):
                    odd.append(f"{path}:{node.lineno}")
    assert not odd


def test_what_is_imported_from_elsewhere_has_no_underscore():
    odd = []
    for path, tree in sources("toolkit", "book", "studies", "benchmarks").items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
                odd += [f"{path} imports {a.name}" for a in node.names if re.match(r"_[a-zA-Z]", a.name)]
    assert not odd


def test_what_is_public_is_said():
    """Every public function and class of the packages has a docstring."""
    odd = []
    for path, tree in sources("toolkit", "book", "studies").items():
        if not path.endswith(("/tasks.py", "/solution.py")):
            for node in tree.body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                    odd += [] if ast.get_docstring(node) else [f"{path}: {node.name}"]
    assert not odd


IMPORTS = """
import importlib, os, sys
import torch

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {never!r}:
            return
        frame = sys._getframe(1)
        while "importlib" in frame.f_globals["__name__"]:
            frame = frame.f_back
        importer = frame.f_globals["__name__"]
        if name.split(".")[0] != "sympy" or importer.split(".")[0] == "toolkit":  # torch itself uses sympy
            raise ImportError(f"{{importer}} imports {{name}}")

sys.meta_path.insert(0, Refuses())
bad = []
for name in {modules!r}:
    child = os.fork()  # each in a fresh interpreter, but for torch, which takes seconds
    if not child:
        importlib.import_module(name)
        os._exit(0)
    bad += [name] if os.waitpid(child, 0)[1] else []
sys.exit(f"not importable alone: {{bad}}" if bad else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_each_module_of_the_toolkit_needs_only_what_pip_install_brings():
    names = ["toolkit", "toolkit.lessons", *(f"toolkit.{one}" for one in sorted(FOUNDATION | set(CHAPTERS)))]
    code = IMPORTS.format(never=NEVER, modules=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_toolkit_names_no_package_that_it_does_not_ask_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}
    asked = {{"scikit-learn": "sklearn"}.get(name, name) for name in asked}
    asked |= {"toolkit", *sys.stdlib_module_names}
    top = [
        (path, name)
        for path, tree in sources("toolkit").items()
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in imported(node)
    ]
    assert not [(path, name) for path, name in top if name.split(".")[0] not in asked]
