"""Submissions that are odd, broken or hostile, each with what it deserves.

Made in code from the real notebooks.  `ODD` are honest ones, which must get every point; `BROKEN` are files
that are damaged or mangled; `HOSTILE` are those that attack the grader or try to earn what they should not.
A hostile cell costs its own task at most: whoever answers right beside it gets the points for that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from book.ch00.solution import recover_x0
from book.lessons import record

ROOT = Path(__file__).parents[3]

TASKS = {"00": ("0.1", "0.2"), "01": ("1.1", "1.3"), "02": ("2.1", "2.3")}
"""The tasks of each lesson that the corpus is marked by, few to keep it quick."""

STUB = "It is still the stub: replace it with your answer."
CHANGED = "Its check cell was changed; the original was used."
MISSING = "Its check cell was missing; the original was used."
TWICE = "Its check cell was there 2 times; the original was used, once."
LOST = "The check's result did not arrive"
PUBLIC_ONLY = "The values for the inputs that you could see are right, and for others they are not"


@dataclass(frozen=True)
class Case:
    """A submission.

    file: its bytes.  marks: points for each task, None for all.  says, notes, flags: {task: parts of the
    sentence, of the remarks for the student, and for the instructor}; where a task is left out there are
    none.  problem: part of the sentence when the file cannot be graded.  slow: it ends at the deadline, so
    give it a short one.  boxed: it is harmless, or earns nothing, only in a sandbox.
    """

    name: str
    file: Callable[[], bytes]
    lesson: str = "00"
    marks: tuple[float, ...] | None = None
    says: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    slow: bool = False
    boxed: bool = False


# --- parts ----------------------------------------------------------------------------------------------


def notebook(lesson: str, folder: str = "solutions") -> dict:
    """The JSON of a lesson's notebook."""
    return json.loads((ROOT / folder / record.load(lesson).notebook).read_text("utf8"))


def code(source: str, name: str | None = None, **more) -> dict:
    """A code cell."""
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
    return cell | ({"id": name} if name else {}) | more


def find(nb: dict, name: str) -> dict:
    """The cell of this id."""
    return next(cell for cell in nb["cells"] if cell["id"] == name)


def index(nb: dict, name: str) -> int:
    return nb["cells"].index(find(nb, name))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def insert(nb: dict, place: int, *sources: str) -> dict:
    """The notebook with new code cells at this place."""
    nb["cells"][place:place] = [code(text, f"own-{place}-{n}") for n, text in enumerate(sources)]
    return nb


def before(nb: dict, name: str, *sources: str) -> dict:
    return insert(nb, index(nb, name), *sources)


def after(nb: dict, name: str, *sources: str) -> dict:
    return insert(nb, index(nb, name) + 1, *sources)


def answer(nb: dict, text: str, name: str = "answer-0-1") -> dict:
    """The notebook with another answer."""
    find(nb, name)["source"] = text
    return nb


def codes(nb: dict) -> list[dict]:
    return [cell for cell in nb["cells"] if cell["cell_type"] == "code"]


def dump(nb) -> bytes:
    return json.dumps(nb, ensure_ascii=False).encode("utf8", "surrogatepass")


ODD: list[Case] = []
BROKEN: list[Case] = []
HOSTILE: list[Case] = []


def case(group: list[Case], name: str, lesson: str = "00", folder: str = "solutions", **told):
    """Add a case; what is decorated gets the lesson's notebook and changes it, or returns another, or
    bytes."""

    def add(make):
        def file() -> bytes:
            nb = notebook(lesson, folder)
            made = make(nb)
            made = nb if made is None else made
            return made if isinstance(made, bytes) else dump(made)

        group.append(Case(name, file, lesson, **told))
        return make

    return add


def cells(group: list[Case], name: str, *sources: str, at: str = "answer-0-1", **told) -> None:
    """Add a case: a solved notebook with cells of its own before one of the lesson's."""
    case(group, name, **told)(lambda nb: before(nb, at, *sources))


RIGHT = "def recover_x0(x_t, eps, alpha, sigma):\n    return (x_t - sigma * eps) / alpha"
WRONG = "def recover_x0(x_t, eps, alpha, sigma):\n    return x_t + eps"
SAID_OF_WRONG = "What should x_0 at alpha = 0.8, sigma = 0.6"


def wrong(group: list[Case], name: str, *sources: str, text: str = WRONG, says=SAID_OF_WRONG, **told) -> None:
    """Add a case: cells before a wrong answer to 0.1, for which they try to get a point."""
    told = {"marks": (0, 1), "says": {"0.1": says}} | told

    @case(group, name, **told)
    def _(nb):
        before(answer(nb, text), "answer-0-1", *sources)


# --- odd, and right -------------------------------------------------------------------------------------


for shown, text in {
    "a tensor of one element": "import torch\nalpha_bar = torch.tensor([0.1192])",
    "an array of one element": "import numpy as np\nalpha_bar = np.array([[0.1192]])",
    "a float that can be called": "class Loud(float):\n    def __call__(self): return 0\n"
    "alpha_bar = Loud(0.1192)",
}.items():
    case(ODD, f"{shown} for a number")(lambda nb, text=text: answer(nb, text, "answer-0-2"))

for shown, text in {
    "a progress bar that counts": "from tqdm import tqdm\ndef recover_x0(x_t, eps, alpha, sigma):\n"
    "    rows, bar = [], tqdm(total=len(x_t))\n    while bar.n < len(x_t):\n"
    "        rows.append((x_t[bar.n] - sigma * eps[bar.n]) / alpha)\n        bar.update(1)\n"
    "    import torch\n    return torch.stack(rows)",
    "torch.compile": f"import torch\n@torch.compile\n{RIGHT}",
    "processes of joblib": "import joblib, torch\n"
    "def row(x, e, a, s): return [(i - s * j) / a for i, j in zip(x, e)]\n"
    "def recover_x0(x_t, eps, alpha, sigma):\n    call = joblib.delayed(row)\n"
    "    rows = (call(x.tolist(), e.tolist(), alpha, sigma) for x, e in zip(x_t, eps))\n"
    "    return torch.tensor(joblib.Parallel(n_jobs=2)(rows), dtype=torch.float64)",
    "a way to show pictures that is not here": f"%matplotlib widget\n{RIGHT}",
    "an array of 500 MB": f"import torch\nroom = torch.zeros(2**26, dtype=torch.float64)\n{RIGHT}",
}.items():
    case(ODD, shown)(lambda nb, text=text: answer(nb, text))

cells(ODD, "a million empty lines", "\n" * 1_000_000)
cells(ODD, "a long cell of its own, which is not run", "a;" * 1_200_000)
cells(
    ODD,
    "debug prints and warnings",
    "import sys, warnings, logging\nprint('here', file=sys.stderr)\nwarnings.warn('careful')\n"
    "logging.basicConfig(level=logging.DEBUG, force=True)\nlogging.debug('seen')",
)


@case(ODD, "an answer that prints and warns")
def _(nb):
    noisy = RIGHT.replace("return", "print('x_t is', x_t); import warnings; warnings.warn('hm')\n    return")
    answer(nb, noisy)


@case(ODD, "a kernel of another name, and another language")
def _(nb):
    nb["metadata"]["kernelspec"] = {"display_name": "R", "language": "R", "name": "my-own-env"}
    nb["metadata"]["language_info"] = {"name": "julia", "version": "1.9"}


@case(ODD, "no metadata at all")
def _(nb):
    nb["metadata"] = {}
    for cell in nb["cells"]:
        cell["metadata"] = {}


@case(ODD, "metadata left out, or of another type")
def _(nb):
    del nb["metadata"]
    for n, cell in enumerate(nb["cells"]):
        if n % 2:
            del cell["metadata"]
        else:
            cell["metadata"] = [] if n % 4 else "none"


@case(ODD, "outputs cleared, counts out of order")
def _(nb):
    for n, cell in enumerate(codes(nb)):
        cell["outputs"], cell["execution_count"] = [], 99 - n


@case(ODD, "no outputs and no counts")
def _(nb):
    for cell in codes(nb):
        del cell["outputs"], cell["execution_count"]


@case(ODD, "helper cells before, between and behind")
def _(nb):
    after(nb, "check-0-2", "print(helped, alpha_bar)")
    before(nb, "check-0-2", "alpha_bar = float(alpha_bar)")
    before(answer(nb, RIGHT.replace("return ", "return helped * ")), "answer-0-1", "helped = 1.0")


@case(ODD, "an answer over two cells")
def _(nb):
    answer(nb, "def taken_away(x_t, eps, sigma):\n    return x_t - sigma * eps")
    text = "def recover_x0(x_t, eps, alpha, sigma):\n    return taken_away(x_t, eps, sigma) / alpha"
    after(nb, "answer-0-1", text)


@case(ODD, "an answer below its check")
def _(nb):
    nb["cells"].insert(index(nb, "check-0-1"), nb["cells"].pop(index(nb, "answer-0-1")))
    nb["cells"].append(nb["cells"].pop(index(nb, "answer-0-2")))


@case(ODD, "an answer above everything")
def _(nb):
    nb["cells"].insert(0, nb["cells"].pop(index(nb, "answer-0-2")))


@case(ODD, "the tasks in another order, with a helper cell of the second")
def _(nb):
    answer(nb, "def recover_x0(x_t, eps, alpha, sigma):\n    return divided(x_t - sigma * eps, alpha)")
    before(nb, "answer-0-1", "def divided(a, b):\n    return a / b")
    first, second = index(nb, "task-0-1"), index(nb, "task-0-2")
    nb["cells"] = nb["cells"][:first] + nb["cells"][second:] + nb["cells"][first:second]


@case(ODD, "the ids of two answer cells exchanged")
def _(nb):
    first, second = find(nb, "answer-0-1"), find(nb, "answer-0-2")
    first["id"], second["id"] = second["id"], first["id"]
    for cell in (first, second):
        cell["metadata"] = {}


@case(ODD, "the answers of two tasks in each other's cells")
def _(nb):
    first, second = find(nb, "answer-0-1"), find(nb, "answer-0-2")
    first["source"], second["source"] = second["source"], first["source"]


@case(ODD, "a copied cell, the newer version below")
def _(nb):
    copy = deepcopy(find(nb, "answer-0-1")) | {"id": "a1b2c3"}
    answer(nb, WRONG)
    nb["cells"].insert(index(nb, "answer-0-1") + 1, copy)


@case(ODD, "an answer in a new cell, its own deleted")
def _(nb):
    find(nb, "answer-0-1").update(id="0815", metadata={})


@case(ODD, "no ids, nbformat 4.4")
def _(nb):
    nb["nbformat_minor"] = 4
    for cell in nb["cells"]:
        del cell["id"]


@case(ODD, "no ids and no metadata, nbformat 4.4")
def _(nb):
    nb["nbformat_minor"] = 4
    for cell in nb["cells"]:
        del cell["id"]
        cell["metadata"] = {}


@case(ODD, "nbformat 3")
def _(nb):
    sheet = []
    for cell in nb["cells"]:
        old = {"cell_type": cell["cell_type"], "metadata": cell["metadata"]}
        if cell["cell_type"] == "code":
            old |= {"input": cell["source"], "outputs": [], "prompt_number": 7, "language": "python"}
            old |= {"collapsed": False}
        else:
            old["source"] = cell["source"]
        sheet.append(old)
    return {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "old"},
        "worksheets": [{"cells": sheet, "metadata": {}}],
    }


case(ODD, "UTF-16")(lambda nb: dump(nb).decode("utf8").encode("utf-16"))
case(ODD, "a byte order mark")(lambda nb: b"\xef\xbb\xbf" + dump(nb))
case(ODD, "compact JSON with escapes")(lambda nb: json.dumps(nb, separators=(",", ":")).encode())


@case(ODD, "Windows line ends")
def _(nb):
    for cell in nb["cells"]:
        cell["source"] = source(cell).replace("\n", "\r\n")


@case(ODD, "sources as lists of lines")
def _(nb):
    for cell in nb["cells"]:
        cell["source"] = source(cell).splitlines(keepends=True)


@case(ODD, "half a pair of surrogates")
def _(nb):
    before(nb, "answer-0-1", "sad = '\ud83d'  # half an emoji")
    return json.dumps(nb).encode()


cells(
    ODD,
    "names like the grader's own",
    "order = check = json = judge = inside = seeds = token = 5\nprint = str\nnp = torch = None\n"
    "sys = os = SimpleNamespace = observe = _ = __ = None\nid = list = dict = lambda *a: None",
)
cells(
    ODD,
    "magics and shell lines",
    "%matplotlib inline\n%timeit -n1 -r1 sum(range(10))\n!ls\nfiles = !ls\n%pwd\n%who",
    "%%time\nx = 1",
    "%%bash\nls / > /dev/null\nfalse",
    "%%writefile helper_module.py\nVALUE = 0.5",
    "import helper_module\n%run helper_module.py\n%cd ..\n%env MINE=1\n%load_ext autoreload\n%autoreload 2",
)
cells(
    ODD,
    "widgets, progress and many figures",
    "from book.lessons import progress, check, NotYet\nprogress()\nimport ipywidgets\n"
    "from IPython.display import display, HTML, clear_output\ndisplay(ipywidgets.IntSlider())\n"
    "clear_output()",
    "import matplotlib.pyplot as plt\nfor n in range(25):\n    plt.figure(); plt.plot([n, 2])\nplt.show()",
    "display(HTML('<table>' + '<tr><td>1</td></tr>' * 10_000 + '</table>'))\nlist(range(100_000))",
)
cells(
    ODD,
    "identifiers in other scripts",
    "α, σ, ᾱ, 名前, переменная = 1, 2, 3, 4, 5\ndef größe(длина): return длина\nprint('😀', größe(名前))",
)
cells(
    ODD,
    "global settings changed",
    "import torch, numpy as np, random, sys, warnings, os\ntorch.manual_seed(3); np.random.seed(3)\n"
    "random.seed(3); torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)\n"
    "np.seterr(all='raise'); np.set_printoptions(precision=1); torch.set_printoptions(precision=1)\n"
    "warnings.simplefilter('error'); sys.setrecursionlimit(20_000); torch.set_num_threads(1)\n"
    "torch.use_deterministic_algorithms(True); np.set_printoptions(threshold=2)\n"
    "import locale; locale.setlocale(locale.LC_ALL, 'C')\nos.chdir('/'); sys.path.insert(0, '.')\n"
    "import decimal; decimal.getcontext().prec = 3\nimport gc; gc.disable(); sys.tracebacklimit = 0",
)
cells(
    ODD,
    "scratch cells that go wrong",
    "1 / 0",
    "import not_there_at_all",
    "def broken(:",
    "raise SystemExit(3)",
    "exit()",
    "raise KeyboardInterrupt",
    "import asyncio; await asyncio.sleep(0)\nassert False, 'no'",
    "import time; time.sleep(0.3)",
)
cells(ODD, "a scratch cell that takes too long", "import time; time.sleep(3600)", slow=True)
cells(
    ODD,
    "a guard, a class, threads and long text",
    "if __name__ == '__main__':\n    ready = True\nassert ready",
    "from dataclasses import dataclass\n@dataclass\nclass Setting:\n    size: int = 3\nSetting()",
    "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n"
    "    sum(pool.map(abs, range(100)))",
    "text = '''" + "long " * 60_000 + "'''",
    "\n".join(f"name_{n} = {n}" for n in range(3000)),
    "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n"
    "    assert pool.map(abs, [-1, 2]) == [1, 2]",
)


@case(ODD, "a check called twice, in a cell of its own and in the answer's")
def _(nb):
    find(nb, "answer-0-1")["source"] = source(find(nb, "answer-0-1")) + "\ncheck = print\n"
    after(nb, "check-0-2", "for n in range(2):\n    check('0.2', alpha_bar)")


case(ODD, "a check cell with more in it", notes={"0.1": CHANGED})(
    lambda nb: (
        answer(nb, "%%time\n" + source(find(nb, "check-0-1")) + "\nprint('fine')", "check-0-1") and None
    )
)


@case(ODD, "an answer merged into its check", notes={"0.1": CHANGED})
def _(nb):
    text = source(nb["cells"].pop(index(nb, "answer-0-1"))) + "\n" + source(find(nb, "check-0-1"))
    answer(nb, text, "check-0-1")


@case(ODD, "everything in one cell", notes={"0.1": MISSING, "0.2": MISSING})
def _(nb):
    nb["cells"] = [code("\n".join(source(cell) for cell in codes(nb)), "one")]


@case(ODD, "everything in one cell with the last one's id", notes={"0.1": MISSING, "0.2": CHANGED})
def _(nb):
    nb["cells"] = [code("\n".join(source(cell) for cell in codes(nb)), "check-0-2")]


for shown, text in {
    "a tensor without dimensions": "import torch\nalpha_bar = torch.sigmoid(torch.tensor(-2.0))",
    "a tensor with a gradient": "import torch\n"
    "alpha_bar = torch.sigmoid(torch.tensor(-2.0, requires_grad=True))",
    "a tensor of half precision": "import torch\nalpha_bar = torch.tensor(0.1192, dtype=torch.bfloat16)",
    "a numpy number": "import numpy as np\nalpha_bar = np.float32(1 / (1 + np.exp(2)))",
    "a fraction": "from fractions import Fraction\nalpha_bar = Fraction(1192, 10_000)",
    "a decimal": "from decimal import Decimal\nalpha_bar = Decimal('0.1192')",
    "a sympy number": "import sympy\nalpha_bar = 1 / (1 + sympy.exp(2))",
    "an array of one number": "import numpy as np, warnings\nwarnings.simplefilter('error')\n"
    "alpha_bar = np.array(0.1192)",
    "a number of a class of its own": "class Level(float):\n    pass\nalpha_bar = Level(0.1192)",
}.items():
    case(ODD, f"0.2 as {shown}")(lambda nb, text=text: answer(nb, text, "answer-0-2"))

for shown, text in {
    "a numpy array": RIGHT.replace("/ alpha", "/ alpha).numpy()").replace("return (", "return (("),
    "a lambda": "recover_x0 = lambda x_t, eps, alpha, sigma: (x_t - sigma * eps) / alpha",
    "a partial function": "from functools import partial\ndef f(power, x_t, eps, alpha, sigma):\n"
    "    return (x_t - sigma * eps) * alpha**power\nrecover_x0 = partial(f, -1)",
    "an object": "class Recover:\n    def __call__(self, x_t, eps, alpha, sigma):\n"
    "        return (x_t - sigma * eps) / alpha\nrecover_x0 = Recover()",
    "a method": "class Recover:\n    @staticmethod\n    def go(x_t, eps, alpha, sigma):\n"
    "        return (x_t - sigma * eps) / alpha\nrecover_x0 = Recover().go",
    "a compiled and cached one": "import functools, torch\n@torch.no_grad()\n"
    "def recover_x0(x_t, eps, alpha, sigma):\n"
    "    return torch.stack([a - sigma * b for a, b in zip(x_t, eps)])"
    " / alpha",
    "a sub-class of Tensor": "import torch\nclass Mine(torch.Tensor):\n    pass\n"
    "def recover_x0(x_t, eps, alpha, sigma):\n    return ((x_t - sigma * eps) / alpha).as_subclass(Mine)",
}.items():
    case(ODD, f"0.1 as {shown}")(lambda nb, text=text: answer(nb, text))


@case(ODD, "a setup cell with more imports", lesson="01")
def _(nb):
    answer(nb, "import os, sys\nfrom math import *\n" + source(find(nb, "setup")), "setup")


@case(ODD, "no setup cell", lesson="01")
def _(nb):
    nb["cells"].pop(index(nb, "setup"))


@case(ODD, "a formula as text", lesson="01")
def _(nb):
    answer(nb, "noise_coefficient = '(r**2*sigma_s**2 - sigma_t**2)/(r*sigma_t)'", "answer-1-3")


@case(ODD, "another lesson's cells behind it", lesson="01")
def _(nb):
    nb["cells"] += notebook("00")["cells"]


# --- broken files ---------------------------------------------------------------------------------------


def broken(name: str, raw: bytes, problem: str) -> None:
    case(BROKEN, name, problem=problem)(lambda nb: raw)


broken("an empty file", b"", "it is not JSON")
broken("spaces", b" \n ", "it is not JSON")
broken("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "it is not JSON")
broken("a page of HTML", b"<!DOCTYPE html><title>Log in</title>", "it is not JSON")
broken("JSON and no notebook", b'{"a": 1}', "it has no nbformat number")
broken("a list", b"[]", "it has no nbformat number")
broken("null", b"null", "it has no nbformat number")
broken("a format of the future", b'{"nbformat": 99, "nbformat_minor": 0, "cells": []}', "damaged notebook")
broken("no cells", b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "damaged notebook")
broken(
    "cells that are no cells",
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1, null, "x"]}',
    "damaged notebook",
)
broken("deep nesting", b"[" * 200_000 + b"]" * 200_000, "it is not JSON")
broken(
    "deep nesting within",
    b'{"nbformat": 4, "nbformat_minor": 5, "cells": [], "metadata": {"a": %s}}' % (b"[" * 900 + b"]" * 900),
    "damaged notebook",
)
case(BROKEN, "half a file", problem="it is not JSON")(lambda nb: dump(nb)[:2000])


@case(BROKEN, "a cell whose source is a number", problem="damaged notebook")
def _(nb):
    find(nb, "answer-0-1")["source"] = 5


@case(BROKEN, "ids of other types")
def _(nb):
    for cell, name in zip(nb["cells"], [["x"], {}, 5, None, True], strict=False):
        cell["id"] = name


@case(BROKEN, "one id for all")
def _(nb):
    for cell in nb["cells"]:
        cell["id"] = "answer-0-1"


@case(BROKEN, "a cell of an unknown type", marks=(0, 1), says={"0.1": "recover_x0 is not defined: was it"},
      notes={"0.1": "The cell for its answer was missing."})  # fmt: skip
def _(nb):
    find(nb, "answer-0-1")["cell_type"] = "heading2"


@case(
    BROKEN,
    "an answer that is text now",
    marks=(0, 1),
    says={"0.1": "recover_x0 is not defined: was it renamed, or its cell removed or left out?"},
    notes={"0.1": "The cell for its answer was missing."},
)
def _(nb):
    cell = find(nb, "answer-0-1")
    cell["cell_type"] = "markdown"
    del cell["outputs"], cell["execution_count"]


@case(BROKEN, "no code cells", marks=(0, 0), says=dict.fromkeys(TASKS["00"], "is not defined"),
      notes=dict.fromkeys(TASKS["00"], MISSING))  # fmt: skip
def _(nb):
    nb["cells"] = [cell for cell in nb["cells"] if cell["cell_type"] == "markdown"]


@case(BROKEN, "another lesson's notebook", marks=(0, 0), notes=dict.fromkeys(TASKS["00"], MISSING),
      says={"0.1": "recover_x0 is not defined", "0.2": "The answer is one number, and yours is an array"},
      flags={"0.1": "imports toolkit.", "0.2": "calls toolkit."})  # fmt: skip
def _(nb):
    return notebook("02")


@case(BROKEN, "an answer that does not parse", marks=(0, 1),
      says={"0.1": "recover_x0 is not defined, because the answer cell of 0.1 stopped with"})  # fmt: skip
def _(nb):
    answer(nb, RIGHT.replace("):", ")"))


@case(BROKEN, "a renamed answer", marks=(0, 1), says={"0.1": "recover_x0 is not defined: was it renamed"})
def _(nb):
    answer(nb, RIGHT.replace("recover_x0", "recover"))


case(BROKEN, "not touched", folder="exercises", marks=(0, 0), says=dict.fromkeys(TASKS["00"], STUB))(
    lambda nb: None
)


# --- outputs and checks ---------------------------------------------------------------------------------


@case(HOSTILE, "forged outputs", folder="exercises", marks=(0, 0), says=dict.fromkeys(TASKS["00"], STUB))
def _(nb):
    solved = notebook("00")
    for cell in codes(nb):
        cell["outputs"] = find(solved, cell["id"])["outputs"]


@case(HOSTILE, "checks that print what is right", folder="exercises", marks=(0, 0),
      says=dict.fromkeys(TASKS["00"], STUB), notes=dict.fromkeys(TASKS["00"], CHANGED))  # fmt: skip
def _(nb):
    for task, cell in zip(TASKS["00"], record.load("00").cells, strict=True):
        find(nb, f"check-{task.replace('.', '-')}")["source"] = f"print({cell.output!r})"


@case(HOSTILE, "checks moved to the top")
def _(nb):
    for name in ("check-0-2", "check-0-1"):
        nb["cells"].insert(0, nb["cells"].pop(index(nb, name)))


@case(HOSTILE, "checks deleted", notes=dict.fromkeys(TASKS["00"], MISSING))
def _(nb):
    nb["cells"] = [cell for cell in nb["cells"] if not cell["id"].startswith("check")]


@case(HOSTILE, "a check twice, the second with another answer", marks=(0, 1), says={"0.1": SAID_OF_WRONG},
      notes={"0.1": TWICE})  # fmt: skip
def _(nb):
    answer(nb, WRONG)
    text = source(find(nb, "check-0-1")).replace("recover_x0", "None")
    nb["cells"].insert(
        index(nb, "check-0-1"), deepcopy(find(nb, "check-0-1")) | {"source": text, "id": "copy"}
    )


@case(HOSTILE, "every cell is to be skipped, or may raise", marks=(0, 1), says={"0.1": SAID_OF_WRONG})
def _(nb):
    answer(nb, "# NBVAL_SKIP\n" + WRONG)
    for cell in codes(nb):
        cell["metadata"]["tags"] = ["nbval-skip", "raises-exception", "nbval-raises-exception"]


wrong(
    HOSTILE,
    "checks replaced in the package",
    "import book.lessons, book.lessons.checking\n"
    "fake = lambda *a, **k: print('0.1 done')\n"
    "book.lessons.check = book.lessons.checking.check = fake",
    marks=(0, 0),
    says=LOST,
)
HOSTILE[-1].says["0.2"] = LOST
HOSTILE[-1].flags["0.1"] = "names book.lessons.checking"
wrong(
    HOSTILE,
    "print, json and builtins replaced",
    "import builtins, json, json.encoder, sys\n"
    "builtins.print = lambda *a, **k: sys.stdout.write('0.1 done\\n')\n"
    'json.dumps = json.encoder.JSONEncoder.encode = lambda *a, **k: \'{"token": "", "score": 1}\'\n'
    "builtins.abs = builtins.round = lambda *a: 0\nbuiltins.sorted = lambda *a, **k: []",
)
wrong(
    HOSTILE,
    "what sends is replaced",
    "shell = get_ipython()\nshell.display_pub.publish = lambda *a, **k: None\n"
    "type(shell.display_pub).publish = lambda *a, **k: None\nshell.display_pub.session = None",
    marks=(0, 0),
    says="The check stopped with AssertionError.",
)
HOSTILE[-1].says["0.2"] = "The check stopped with AssertionError."
wrong(
    HOSTILE,
    "comparisons and numpy replaced",
    "import numpy as np, torch, math\nnp.allclose = np.array_equal = torch.equal = lambda *a, **k: True\n"
    "np.isclose = lambda *a, **k: np.array(True)\ntorch.allclose = torch.isclose = np.allclose\n"
    "import book.lessons.diagnose as d\n"
    "d.same_value = d.same_values = d.steady = d.right = lambda *a: True",
    flags={"0.1": "names book.lessons.diagnose"},
)
wrong(
    HOSTILE,
    "the observing replaced",
    "import book.grading.kernel_check as inside\nfrom types import SimpleNamespace\n"
    "inside._observe = lambda *a: SimpleNamespace(values={'score': 1.0}, error=('', ''),"
    " trouble='', text='', changed='', returned='', dtype='', printed='')",
    says="What about x_0 at alpha = 0.8, sigma = 0.6? Your answer lacks it.",
    flags={"0.1": "names book.grading"},
)
wrong(
    HOSTILE,
    "the random inputs made constant, and their values replayed",
    "import numpy as np\nreal = np.random.default_rng\nnp.random.default_rng = lambda *a: real([0, 0])",
    text=RIGHT,
    says=PUBLIC_ONLY,
)
del HOSTILE[-1].says["0.1"]
HOSTILE[-1].says["0.1"] = "x_0 at alpha = 0.8, sigma = 0.6"


def _replay() -> str:
    """An answer that knows what a right one gives for the public seeds, and nothing else."""
    from book.lessons.probes import normal

    table = {}
    for seed in (0, 1, 2):
        x_t, eps = normal(seed, 2, 3), normal(seed, 2, 3, stream=1)
        for alpha, sigma in ((0.8, 0.6), (1.0, 40.0)):
            table[x_t[0, 0].item(), sigma] = recover_x0(x_t, eps, alpha, sigma).tolist()
    return (
        f"import torch\nTABLE = {table!r}\ndef recover_x0(x_t, eps, alpha, sigma):\n"
        "    known = TABLE.get((x_t[0, 0].item(), sigma))\n"
        "    return x_t if known is None else torch.tensor(known, dtype=torch.float64)"
    )


wrong(HOSTILE, "the public values replayed", text=_replay(), says=PUBLIC_ONLY)

EVERYTHING = """
class Everything:
    def __eq__(self, other): return True
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = __eq__
    def __hash__(self): return 0
    def __float__(self): return 1.0
    def __call__(self, *a, **k): return self
    def __getattr__(self, name): return self
    def __iter__(self): return iter([self])
    def __getitem__(self, key): return self
    def __len__(self): return 6
    def __abs__(self): return 0.0
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = lambda self, other: self
    def __repr__(self): return "0.1 done"
    __str__ = __repr__
"""
wrong(
    HOSTILE,
    "an answer that equals everything",
    EVERYTHING,
    text="recover_x0 = Everything()",
)
wrong(
    HOSTILE,
    "an answer whose result equals everything",
    EVERYTHING,
    text="def recover_x0(*a):\n    return Everything()",
)
wrong(
    HOSTILE,
    "a tensor that equals everything",
    "import torch\nclass Sly(torch.Tensor):\n    @classmethod\n"
    "    def __torch_function__(cls, f, types, args=(), kwargs=None):\n"
    "        if f.__name__ in ('allclose', 'equal', 'eq', 'isclose', '__eq__'): return torch.tensor(True)\n"
    "        return super().__torch_function__(f, types, args, kwargs or {})",
    text="def recover_x0(x_t, eps, alpha, sigma):\n    return x_t.as_subclass(Sly)",
)
case(HOSTILE, "a number that is close to all", marks=(1, 0), says={"0.2": "DDPM's alpha-bar at lambda = -1"})(
    lambda nb: before(
        answer(nb, "alpha_bar = Close(0.7)", "answer-0-2"),
        "answer-0-2",
        "class Close(float):\n    __sub__ = __rsub__ = lambda self, other: 0.0\n"
        "    __abs__ = lambda self: 0.0\n"
        "    __eq__ = __le__ = __lt__ = lambda self, other: True\n    __hash__ = float.__hash__",
    )
)
case(HOSTILE, "text in place of a number", marks=(1, 0), says={"0.2": "yours is the text 'right'."})(
    lambda nb: answer(
        nb, "class Text(str):\n    __eq__ = lambda s, o: True\nalpha_bar = Text('right')", "answer-0-2"
    )
)
HOSTILE[-1].says["0.2"] = "The answer is one number, and yours is the text 'right'."

# --- cells that do not end, or end too much -------------------------------------------------------------

SWALLOW = (
    "while True:\n    try:\n        while True:\n            {}\n    except BaseException:\n        pass"
)

for shown, text in {
    "a loop that swallows interrupts": "import time\n" + SWALLOW.format("time.sleep(0.01)"),
    "a loop that prints": SWALLOW.format("print('x' * 1000)"),
    "a sleep, interrupts ignored": "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "time.sleep(9e6)",
    "a regular expression without end": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "a number without end": "9 ** 9 ** 9",
}.items():
    cells(HOSTILE, f"{shown}, in a cell of its own", text, slow=True)
    if "ignored" not in shown:
        body = "\n".join("    " + line for line in text.splitlines())
        case(
            HOSTILE,
            f"{shown}, in an answer",
            marks=(0, 1),
            slow=True,
            says={"0.1": "The check was still running after"},
        )(  # fmt: skip
            lambda nb, body=body: answer(nb, f"def recover_x0(x_t, eps, alpha, sigma):\n{body}") and None
        )
for one in HOSTILE:
    if one.name == "a loop that prints, in an answer":
        one.says["0.1"] = "The check"

for shown, text in {
    "one print of 30 MB": "print('x' * 30_000_000)",
    "one print of 100 MB": "print('x' * 100_000_000)",
    "prints without end, plainly": "while True: print('x' * 1000)",
    "prints without end, slowly": "import time\nwhile True: print('x' * 1000); time.sleep(1e-5)",
    "100,000 displays": "from IPython.display import display\nfor n in range(100_000): display(n)",
    "a stream of large messages": "import json\nfrom jupyter_client.session import json_packer\n"
    "kernel = get_ipython().kernel\nthread, session = kernel.iopub_thread, kernel.session\n"
    "content = b'{\"pad\":\"' + b'x' * 20_000_000 + b'\"}'\n"
    "for n in range(40):\n"
    "    parts = [json_packer(session.msg_header('status')), b'{}', b'{}', content]\n"
    "    parts = [b'a', b'<IDS|MSG>', session.sign(parts), *parts]\n"
    "    thread.schedule(lambda parts=parts: thread.socket.send_multipart(parts, copy=False))",
    "garbage in the sockets": "thread = get_ipython().kernel.iopub_thread\n"
    "for bad in ([b'a'], [b''], [b'a', b'<IDS|MSG>', b'', b'[', b'{', b'1', b'x'], [b'\\xff' * 9] * 9):\n"
    "    thread.schedule(lambda bad=bad: thread.socket.send_multipart(bad))\nimport time; time.sleep(0.5)",
    "messages of its own making": "kernel = get_ipython().kernel\n"
    "session, socket = kernel.session, kernel.iopub_thread\n"
    "parent = kernel.get_parent('shell')\n"
    "for kind, content in (('stream', {}), ('display_data', []), ('error', {'ename': []}), ('status', {}),\n"
    "                      ('comm_open', {'data': 5}), ('execute_input', None)):\n"
    "    session.send(socket, kind, content, parent=parent)",
    "the end announced too early": "kernel = get_ipython().kernel\n"
    "parent, idle = kernel.get_parent('shell'), {'execution_state': 'idle'}\n"
    "kernel.session.send(kernel.iopub_thread, 'status', idle, parent=parent)\n"
    "import time; time.sleep(1)",
    "a comm that talks": "from comm import create_comm\n"
    "c = create_comm(target_name='x', data={'a': [1] * 1000})\n"
    "for n in range(100): c.send({'n': n})",
    "a question": "answer = input('Which mark do you want?')\nimport getpass; getpass.getpass()",
    "os._exit": "import os; os._exit(0)",
    "a signal to itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "a crash": "import ctypes; ctypes.string_at(0)",
    "a stack that overflows": "import sys; sys.setrecursionlimit(10**9)\n"
    "class A:\n    def __getattr__(self, name): return getattr(self, name + 'x')\n"
    "def deep(n): return [deep(n + 1)]\ndeep(0)",
    "the kernel shut down": "get_ipython().kernel.do_shutdown(False); get_ipython().ask_exit()\n"
    "get_ipython().exit_now = True",
    "every file closed": "import os; os.closerange(0, 300)",
}.items():
    cells(HOSTILE, f"{shown}, in a cell of its own", text, slow=True)

for shown, text, says in (
    ("an empty array of a billion columns", "return x_t.new_zeros(0, 10**9)", "an empty array of shape"),
    ("300 x 300 numbers", "import torch; return torch.ones(300, 300)", "What shape should x_0"),
    ("numbers whose squares are no floats", "return 1e300 * x_t", SAID_OF_WRONG),
    ("what torch cannot do", "import torch; return torch.softmax(torch.arange(3), 0)", "NotImplementedError"),
):
    wrong(ODD, shown, text=f"def recover_x0(x_t, eps, alpha, sigma):\n    {text}", says=says)

for shown, text in {
    "6 MB": "for n in range(6000): print('x' * 1000)",
    "100 MB at once": "print('x' * 100_000_000)",
    "5000 displays": "from IPython.display import display\nfor n in range(5000): display(n)",
}.items():

    @case(ODD, f"{shown} in the cell of an answer", slow=True)
    def _(nb, text=text):
        answer(nb, f"{RIGHT}\n{text}")


@case(HOSTILE, "prints without end in the cell of an answer", marks=(0, 1), slow=True)
def _(nb):
    answer(nb, "while True: print('x' * 1000)")


HOSTILE[-1].says["0.1"] = (
    "recover_x0 is not defined, because the answer cell of 0.1 makes output without end (more than 5,000,000"
)

for shown, text, words in (
    ("os._exit", "import os; os._exit(0)", "The check ended its Python process"),
    ("a crash", "import ctypes; ctypes.string_at(0)", "The check ended its Python process"),
    ("sys.exit", "import sys; sys.exit(0)", "recover_x0 stops at line 2 of its cell"),
    ("KeyboardInterrupt", "raise KeyboardInterrupt", "The check stopped with KeyboardInterrupt."),
    ("no end of recursion", "return recover_x0(x_t, eps, alpha, sigma)", "with RecursionError"),
    ("NotImplemented", "return NotImplemented", "Yours is a NotImplementedType."),
    ("30 MB printed", "print('x' * 30_000_000); return x_t + eps", SAID_OF_WRONG),
    ("half a million numbers", "return x_t.new_zeros(700, 700)", "Your answer holds 490,000 numbers"),
    (
        "an exception of a million letters",
        "raise ValueError('x' * 10**6 + '\\ud800\\x00<script>')",
        "ValueError: xxx",
    ),
):
    case(HOSTILE, f"{shown} in an answer", marks=(0, 1), says={"0.1": words})(
        lambda nb, text=text: answer(nb, f"def recover_x0(x_t, eps, alpha, sigma):\n    {text}") and None
    )

# --- harm to the machine and to neighbours --------------------------------------------------------------

for shown, text in {
    "forks without end": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "threads without end": "import threading, time\nthreading.stack_size(32768)\nwhile True:\n"
    "    threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    "memory without end": "kept = []\ntry:\n    while True: kept.append(bytearray(50_000_000))\n"
    "finally: kept.clear()",
    "memory in many processes": "import os, time\nfor n in range(6):\n    if os.fork() == 0:\n"
    "        kept = bytearray(b'x') * 600_000_000; time.sleep(99); os._exit(0)\ntime.sleep(99)",
    "memory in shared files": "import os\nfor folder in ('/dev/shm', '/tmp', '.', '/dev', '/home'):\n"
    "    try:\n"
    "        for n in range(20): open(f'{folder}/big{n}', 'wb').write(b'x' * 19_000_000)\n"
    "    except OSError as error: print(error)",
    "memory that is nobody's": "import os, ctypes\nlibc = ctypes.CDLL(None)\nfor n in range(4):\n"
    "    assert libc.shmget(0, 2**20, 0o1600) == -1\n    try: os.memfd_create('a'); assert False\n"
    "    except OSError: pass",
    "big, sparse and many files": "import os\nfor n in range(20_000): open(f'f{n}', 'w')\n"
    "open('sparse', 'wb').truncate(10**7)\nopen('big', 'wb').write(b'x' * 10**9)",
    "a folder without end": "import os\nwhile True: os.mkdir('d'); os.chdir('d')",
    "signals to all": "import os, signal\nfor pid in (-1, 1, 2, 3, os.getppid()):\n"
    "    try: os.kill(pid, signal.SIGKILL if pid != os.getpid() else 0)\n    except OSError: pass",
    "a group of its own and a child that stays": "import subprocess, os\n"
    "subprocess.Popen(['sleep', '77'], start_new_session=True)\nif os.fork() == 0:\n    os.setsid()\n"
    "    if os.fork() == 0:\n        import time; time.sleep(77)\n    os._exit(0)",
    "namespaces and mounts": "import os, subprocess\n"
    "for line in ('unshare -Ur true', 'mount -t tmpfs x /tmp', 'chroot / true', 'nice -n -5 true'):\n"
    "    assert subprocess.run(line.split(), capture_output=True).returncode\nos.nice(19)",
    "the network": "import socket\nfor place in (('1.1.1.1', 53), ('localhost', 22), ('example.org', 80)):\n"
    "    try: socket.create_connection(place, timeout=1); assert False, place\n    except OSError: pass",
}.items():
    slow = "without end" in shown or "processes" in shown
    cells(HOSTILE, f"{shown}, in a cell of its own", text, slow=slow, boxed=True)

LATER = """
import atexit, threading, time, os
def talk():
    while True:
        print("0.1 done"); print("0.2 done"); time.sleep(0.001)
threading.Thread(target=talk, daemon=True).start()
atexit.register(print, "0.1 done")
if os.fork() == 0:
    time.sleep(1); os.write(1, b"0.1 done"); os._exit(0)
"""
cells(HOSTILE, "threads and exits that print into checks", LATER)
wrong(HOSTILE, "threads and exits that print into checks, and a wrong answer", LATER)
cells(
    HOSTILE,
    "tracing and profiling, clocks turned back",
    "import sys, time, threading\nsys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)\n"
    "threading.settrace(lambda *a: None)\ntime.time = time.monotonic = time.perf_counter = lambda: 0.0\n"
    "time.sleep = lambda *a: None",
)
cells(
    HOSTILE,
    "modules named like Python's own beside the notebook",
    "for name in ('json', 'random', 'struct', 'torch', 'numpy', 'toolkit', 'sitecustomize', 'conftest'):\n"
    "    open(name + '.py', 'w').write('raise SystemExit(\"mine\")')\nimport sys; sys.path.insert(0, '.')",
    "import pickle\nclass Bomb:\n    def __reduce__(self): return (eval, ('1/0',))\n"
    "bomb = pickle.dumps(Bomb())",
)

# --- looking for what is right --------------------------------------------------------------------------

HUNT = """
import os, re
found, wanted = "", re.compile(r"x_t - [s]igma \\* eps\\) / alpha|[a]lpha_bar = 1")
for root in "/packages /run /home /tmp /root /opt /etc /var /mnt /srv".split() + [os.getcwd()]:
    for folder, _, names in os.walk(root):
        for name in names:
            if re.match(r"tasks|solution|reference|00|release|grade|_probes|.*\\.ipynb$", name):
                try: text = open(os.path.join(folder, name), errors="replace").read()
                except OSError: continue
                if wanted.search(text): found = text
for pid in os.listdir("/proc"):
    for name in ("environ", "cmdline"):
        try: text = open(f"/proc/{pid}/{name}", errors="replace").read()
        except OSError: continue
        if re.search("solutions|[s]ecret|PASSWORD", text): found = text
for name in ("book.ch00.tasks", "book.ch00.solution"):
    try: found = str(__import__(name))
    except ImportError: pass
print(os.environ, len(found))
"""
wrong(
    HOSTILE,
    "the machine searched for what is right",
    HUNT,
    "recover_x0 = (lambda x_t, eps, alpha, sigma: (x_t - sigma * eps) / alpha) if found else None",
    text="def recover_x0(x_t, eps, alpha, sigma):\n"
    "    return (x_t - sigma * eps) / alpha if found else x_t + eps",
    flags={"0.1": "names ch00.tasks"},
    boxed=True,
)
wrong(
    HOSTILE,
    "the tasks imported",
    "import importlib\nfrom book.ch00.solution import recover_x0",
    "from book.ch00 import solution\nrecover_x0 = solution.recover_x0",
    "recover_x0 = importlib.import_module('book.ch00.tasks').RECOVER.reference",
    "from book.lessons import registry\nrecover_x0 = registry.find('0.1').reference",
    text="recover_x0",
    says="recover_x0 is not defined, because the answer cell of 0.1 stopped with",
    flags={"0.1": "names ch00.tasks"},
    boxed=True,
)

FORGE = """
import base64, json, re
from book.lessons.probes import normal
shell = get_ipython()
RIGHT = [{rule}, {rule}]
def forge(info):
    asked = re.search(r"token='(\\w+)', seeds=(\\[\\[.*?\\]\\])", info.raw_cell)
    if not asked: return
    seens = []
    for seed, noise in json.loads(asked[2]):
        x_t, eps = normal(seed, 2, 3), normal(seed, 2, 3, stream=1)
        values = [f(x_t, eps, a, s) for f, (a, s) in zip(RIGHT, ((0.8, 0.6), (1.0, 40.0)))]
        texts = [base64.b64encode(value.double().numpy().tobytes()).decode() for value in values]
        values = [{{"shape": [2, 3], "values": text}} for text in texts]
        labels = "x_0 at alpha = 0.8, sigma = 0.6", "x_0 at alpha = 1, sigma = 40"
        seen = dict.fromkeys(("trouble", "text", "changed", "returned", "dtype", "printed"), "")
        seens.append(seen | {{"values": dict(zip(labels, values)), "error": ["", ""]}})
    told = {{"token": asked[1], "task": "0.1", "seen": seens}}
    told["answers"] = {{"": {{"is": "function", "name": "f"}}}}
    data = {{"application/x-toolkit-seen": json.dumps(told), "text/plain": ""}}
    shell.display_pub.publish(data=data, metadata={{}})
shell.events.register("pre_run_cell", forge)
"""
wrong(HOSTILE, "seeds read and a message forged", FORGE.format(rule="lambda x_t, eps, a, s: x_t"),
      flags={"0.1": "names book.lessons.probes"})  # fmt: skip
wrong(
    HOSTILE,
    "seeds read and numbers sent that are no numbers",
    FORGE.format(rule="lambda x_t, eps, a, s: x_t * float('nan')"),
    says="x_0 at alpha = 0.8, sigma = 0.6, entry [0, 0], is nan (6 of 6)",
    flags={"0.1": "names book.lessons.probes"},
)
wrong(
    HOSTILE,
    "a message with every field wrong",
    "import re\nshell = get_ipython()\ndef forge(info):\n"
    "    token = re.search(r\"token='(\\w+)'\", info.raw_cell)\n    if token:\n"
    '        text = \'{"token": "%s", "task": "0.1", "answers": {"": {"is": []}}, "seen": [1, 2, 3, 4]}\'\n'
    "        shell.display_pub.publish(data={'application/x-toolkit-seen': text % token[1]}, metadata={})\n"
    "shell.events.register('pre_run_cell', forge)",
    text=RIGHT,
    says="The check's result cannot be read",
)

# --- the toolkit's own methods --------------------------------------------------------------------------

OWN = """
import numpy as np
from types import SimpleNamespace
def subsequence(T, steps):
    return [round(T - T * i / steps) for i in range(steps + 1)]
def ddim_sample(predict, alpha_bar, x, grid):
    bar = alpha_bar.numpy()
    at = lambda t: bar[np.rint(np.asarray(t)).astype(int)]
    model = SimpleNamespace(eps=lambda x, t: predict(x, round(t)), nfe=0, begin=lambda: None,
        schedule=SimpleNamespace(alpha=lambda t: at(t) ** 0.5, sigma=lambda t: (1 - at(t)) ** 0.5))
    {}
"""
DDIM = "calls toolkit.ddim.ddim, which the solution does not"
for shown, text, more in (
    ("by its name", "*_, (t, x) = ddim(model, x, grid); return x", {}),
    ("by getattr", "import toolkit\n"
     "    *_, (t, x) = getattr(toolkit.ddim, 'dd' + 'im')(model, x, grid); return x", {}),
    ("by sample", "return sample(ddim, model, x, grid).x", {}),
    ("by importlib", "import importlib\n"
    "    *_, (t, x) = importlib.import_module('toolkit.' + 'ddim').ddim(model, x, grid)\n"
     "    return x", {}),
    ("in a thread", "from concurrent.futures import ThreadPoolExecutor\n"
     "    return ThreadPoolExecutor(1).submit(sample, ddim, model, x, grid).result().x", {}),
    ("by exec", "space = {}\n    exec('from toolkit.ddim import ddim', space)\n"
     "    exec('*_, (t, x) = ddim(model, x, grid)', space | locals(), space); return space['x']", {}),
    ("in a module of its own", "open('mine.py', 'w').write('from toolkit.ddim import ddim\\ndef go(*a):\\n"
     "    *_, (t, x) = ddim(*a)\\n    return x'); import sys; sys.path.insert(0, '.')\n"
     "    import mine; return mine.go(model, x, grid)", {}),
):  # fmt: skip
    case(HOSTILE, f"DDIM called {shown}", lesson="02", flags={"2.3": DDIM} | more)(
        lambda nb, text=text: answer(nb, OWN.replace("{}", text), "answer-2-3") and None
    )


@case(HOSTILE, "DDIM itself, its arguments given", lesson="02", marks=(2, 0), flags={"2.3": DDIM},
      says={"2.3": "The check cannot use what your answer returns"})  # fmt: skip
def _(nb):
    text = (
        "from functools import partial\n"
        + OWN.replace("{}", "")
        + "\nddim_sample = partial(partial(ddim), None)"
    )
    answer(nb, text, "answer-2-3")


case(HOSTILE, "a method imported, not called", lesson="02", flags={"2.1": "imports toolkit.exponential.phi"})(
    lambda nb: before(nb, "answer-2-1", "from toolkit.exponential import phi") and None
)
case(HOSTILE, "tools that an answer may use", lesson="02")(
    lambda nb: (
        before(nb, "answer-2-1", "from toolkit import Mixture, grids, sample; from book.plots import Picture")
        and None
    )
)
