"""The notebook of the fixture lesson 99, as cells; and the answers that a student may put into it."""

import json
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FIXTURES = Path(__file__).parent / "fixtures"

CHECK = "# NBVAL_CHECK_OUTPUT\nfrom book.lessons import check\n"

CELLS = [
    ("intro", "# Exercises 99: a small lesson"),
    ("setup", "import math\nfrom book.lessons import check"),
    ("s1", "### 99.1\n\nWrite one jump $x_t = \\alpha x_0 + \\sigma\\epsilon$."),
    (
        "a1",
        'def forward(x0, alpha, sigma, eps):\n    """One jump."""\n    ### BEGIN SOLUTION\n'
        "    mean = alpha * x0\n    return mean + sigma * eps\n    ### END SOLUTION",
    ),
    ("c1", CHECK + 'check("99.1", forward)'),
    ("s2", "### 99.2\n\nWrite the loop."),
    (
        "a2",
        "def times(n):\n    ### BEGIN SOLUTION\n"
        "    return [1 - i / n for i in range(n + 1)]\n    ### END SOLUTION",
    ),
    (
        "b2",
        "def walk(step, x, grid):\n    ### BEGIN SOLUTION\n    yield x\n"
        "    for t, s in zip(grid, grid[1:]):\n        x = step(x, t, s)\n        yield x\n"
        "    ### END SOLUTION",
    ),
    ("c2", CHECK + 'check("99.2", times=times, walk=walk)'),
    ("s3", "### 99.3\n\nWhich sigma?"),
    ("a3", "### BEGIN SOLUTION\nsigma = math.sqrt(1 - 0.6**2)\n### END SOLUTION"),
    ("c3", CHECK + 'check("99.3", sigma)'),
    ("s4", "### 99.4\n\nWhich coefficient?"),
    (
        "a4",
        'import sympy\na, b = sympy.symbols("a b")\n'
        "### BEGIN SOLUTION\nformula = sympy.sqrt(a) + b * a\n### END SOLUTION",
    ),
    ("c4", CHECK + 'check("99.4", formula)'),
    ("s5", "### 99.5\n\nDraw it."),
    (
        "a5",
        "from matplotlib.figure import Figure\nn = [1.0, 2.0, 4.0, 8.0]\nax = Figure().add_subplot()\n"
        '### BEGIN SOLUTION\nline = ax.loglog(n, [1 / k for k in n], label="error")\n'
        'ax.set(xlabel="steps", ylabel="error")\n### END SOLUTION',
    ),
    ("c5", CHECK + 'check("99.5", ax)'),
    ("s6", "### 99.6\n\nHere is a listing with a mistake in it."),
    (
        "a6",
        "def mean(x):\n    ### BEGIN SOLUTION\n    return x.mean(0)\n    ### INSTEAD\n"
        "    # return x.sum(0) / x.shape[1]\n    ### END SOLUTION",
    ),
    ("c6", CHECK + 'check("99.6", mean)'),
]

TASK_IDS = [f"99.{k}" for k in range(1, 7)]


def notebook(cells=CELLS):
    """The cells as a notebook; a Markdown cell begins with '#' and a blank, or with '###' and a number."""
    made = []
    for cell_id, source in cells:
        markdown = source.startswith(("# Ex", "### 99"))
        cell = (new_markdown_cell if markdown else new_code_cell)(source)
        cell["id"] = cell_id
        made.append(cell)
    return new_notebook(cells=made)


def write(path: Path, cells=CELLS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(cells)), "utf8")
    return path


def edited(source: Path, target: Path, **changes) -> Path:
    """A copy of a notebook with some cells' sources replaced, by id ('-' as '_'); None removes a cell."""
    raw = json.loads(source.read_text("utf8"))
    kept = []
    for cell in raw["cells"]:
        key = cell["id"].replace("-", "_")
        if key in changes:
            if changes[key] is None:
                continue
            cell["source"] = changes[key]
        kept.append(cell)
    unknown = set(changes) - {cell["id"].replace("-", "_") for cell in raw["cells"]}
    assert not unknown, unknown
    raw["cells"] = kept
    target.write_text(json.dumps(raw), "utf8")
    return target
