"""The right answers are taken from a notebook by name, with what they need and nothing that takes time."""

import pytest

from book.lessons import extracting, registry

SETUP = """
import math, os
import sympy
from math import sqrt as root
from pathlib import Path
import numpy

SCALE = 2  # of everything
TABLE = [SCALE]
TABLE[0] = 3
folder = Path(".")
a, b = sympy.symbols("a b")


class Box:
    width = SCALE


@staticmethod
def helper(x):
    # a remark
    return math.sin(x) + Box.width


def unused(x):
    return os.getcwd()
"""
ANSWERS = """
def f(x, *, y=TABLE):
    \"\"\"The answer.\"\"\"
    return helper(x) + y[0]


number = root(2) + max(SCALE, math.pi); word = "fails"
formula = sympy.sqrt(a) * b
solved = sympy.solve(a - b, a)[0]
measured = f(1.0)
counted = 0
while counted < 3:
    counted += 1
array = numpy.ones(3)
later = formula
"""
AFTER = "for a in range(3):\n    pass\nSCALE = 5\n"
NAMES = {"f", "number", "word", "formula", "solved", "measured", "counted", "array", "later", "unknown"}


@pytest.fixture(scope="module")
def text():
    return extracting.source("97", "97_own.ipynb", ["%magic", SETUP, ANSWERS, AFTER], [(3, NAMES)])


def test_functions_come_with_what_they_need_as_they_stand(text):
    for part in (
        "import math\n",
        "SCALE = 2  # of everything\n",
        "TABLE[0] = 3\n",
        "\n\nclass Box:\n    width = SCALE\n\n\n@staticmethod\ndef helper(x):\n    # a remark\n",
        'def f(x, *, y=TABLE):\n    """The answer."""\n',
    ):
        assert part in text
    for part in ("unused", "os", "Path", "folder", "numpy", "SCALE = 5"):
        assert part not in text.split('"""', 2)[2]


def test_values_are_there_if_they_are_written_down_plainly(text):
    made = {}
    exec(text, made)
    assert made["f"](0.0) == 5 and made["number"] == pytest.approx(2**0.5 + 3.141592653589793)
    assert made["word"] == "fails" and str(made["formula"]) == "sqrt(a)*b" == str(made["later"])
    assert not {"solved", "measured", "counted", "array"} & made.keys()
    assert "What is computed there is not here: solved, measured, counted,\narray." in text


def test_only_what_stands_before_the_check_counts():
    cells = ["def f(x):\n    return a * x\na = 2", AFTER]
    assert "a = 2" in extracting.source("97", "n", cells, [(1, {"f"})])
    with pytest.raises(ValueError, match="the answer f needs a, which is made by a for statement"):
        extracting.source("97", "n", cells, [(2, {"f"})])


@pytest.mark.parametrize("lesson", [one for one in registry.lessons() if extracting.path_of(one).is_file()])
def test_importing_the_right_answers_takes_no_time(lesson):
    """Not measured in seconds: what runs on import may call nothing that samples, trains or loads weights."""
    import ast

    tree = ast.parse(extracting.path_of(lesson).read_text("utf8"))
    run = [part for part in tree.body if not isinstance(part, (ast.FunctionDef, ast.ClassDef))]
    called = {ast.unparse(n.func).split(".")[-1] for s in run for n in ast.walk(s) if isinstance(n, ast.Call)}
    assert not called & {
        "sample",
        "reference",
        "pretrained",
        "digits_model",
        "load",
        "train",
        "backward",
        "solve",
    }
