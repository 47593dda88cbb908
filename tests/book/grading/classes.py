"""A class made up from real notebooks: students who solved much or little, packed as an LMS would."""

import ast
import copy
import io
import json
import random
import zipfile
from pathlib import Path

import nbformat

from book.lessons import record
from book.lessons.building import BEGIN, END

ROOT = Path(__file__).resolve().parents[3]

NAMES = (
    "Ada Lovelace,Émilie du Châtelet,Srinivasa Ramanujan,Noether Emmy,陈省身,Σοφία Κοβαλέφσκαγια,Alan Turing,"
    "Katherine Johnson,Niels Abel,O'Neil Cathy,Maryam Mirzakhani,Évariste Galois,Anna-Lena Weiß,Kurt Gödel,"
    "Hypatia,Benoît Mandelbrot,Julia Robinson,Paul Erdős,Grace Hopper,Blaise Pascal,Ольга Ладыженская,"
    "Leonhard Euler,Mary Cartwright,Carl Gauß,Sophie Germain,Andrey Markov,Olga Taussky-Todd,Kiyoshi Itô,"
    "Ingrid Daubechies,Abu Dscha'far"
).split(",")


class _Slip(ast.NodeTransformer):
    """Turns the n-th arithmetic sign into another one: the slip of somebody who nearly had it."""

    SWAP = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}

    def __init__(self, n):
        self.left = n

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if type(node.op) in self.SWAP:
            self.left -= 1
            if self.left == -1:
                node.op = self.SWAP[type(node.op)]()
        return node


def _slipped(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    signs = sum(isinstance(n, ast.BinOp) and type(n.op) in _Slip.SWAP for n in ast.walk(tree))
    return ast.unparse(_Slip(draw.randrange(signs)).visit(tree)) if signs else source


def notebooks(lesson: str, students: int, seed: int = 0) -> list:
    """Notebooks of this many students: each task solved, solved with a slip, or left as it was given.

    The marks of the book's own solution are gone, as nobody writes them.
    """
    draw = random.Random(seed)
    noted = record.load(lesson)
    solved = read(ROOT / "solutions" / noted.notebook)
    given = {c["id"]: c.source for c in read(ROOT / "exercises" / noted.notebook).cells}
    made = []
    for number in range(students):
        notebook, skill = copy.deepcopy(solved), draw.uniform(0.4, 1.0)
        cells = {cell["id"]: cell for cell in notebook.cells}
        for answers in noted.answers.values():
            luck = draw.random()
            for name in answers if luck > skill else ():
                source = cells[name].source
                cells[name].source = _slipped(source, draw) if luck < (1 + skill) / 2 else given[name]
            for name in answers:
                lines = cells[name].source.splitlines()
                cells[name].source = "\n".join(line for line in lines if line.strip() not in (BEGIN, END))
        cells[next(iter(cells))].source += f"\n\nStudent {number}."
        made.append(notebook)
    return made


def read(path: Path):
    """The notebook in a file."""
    return nbformat.read(path, 4)


def text(notebook) -> bytes:
    """A notebook as the bytes of its file."""
    return nbformat.writes(notebook).encode()


def canvas(files: dict[str, bytes], name="02_ddim.ipynb") -> bytes:
    """A zip as Canvas names it; every seventh came late, every fifth is a second try."""
    out = {}
    for n, (student, raw) in enumerate(files.items()):
        letters = "".join(c for c in "".join(reversed(student.split())).lower() if c.isalnum())
        late = "_LATE" if n % 7 == 3 else ""
        again = name.replace(".ipynb", "-1.ipynb") if n % 5 == 2 else name
        out[f"{letters}{late}_{1000 + n}_{5000 + n}_{again}"] = raw
    return zipped(out)


def moodle(files: dict[str, bytes], name="02_ddim.ipynb") -> bytes:
    """A zip as Moodle names it, a folder a student."""
    return zipped(
        {f"{s}_{2000 + n}_assignsubmission_file_/{name}": raw for n, (s, raw) in enumerate(files.items())}
    )


def gradescope(files: dict[str, bytes], name="02_ddim.ipynb") -> bytes:
    """An export of Gradescope, with its list of submitters."""
    out, listed = {}, []
    for n, (student, raw) in enumerate(files.items()):
        out[f"assignment_77_export/submission_{3000 + n}/{name}"] = raw
        listed += [
            f"submission_{3000 + n}:",
            "  :submitters:",
            f"  - :name: {json.dumps(student, ensure_ascii=False)}",
            f"    :sid: '{9000 + n}'",
            f"    :email: s{n}@example.org",
            "  :created_at: 2026-11-20 10:00:00.000000000 Z",
        ]
    out["assignment_77_export/submission_metadata.yml"] = "\n".join(["---", *listed, ""]).encode()
    return zipped(out)


def folders(files: dict[str, bytes], into: Path, name="02_ddim.ipynb") -> Path:
    """A folder a student."""
    for student, raw in files.items():
        (into / student).mkdir(parents=True)
        (into / student / name).write_bytes(raw)
    return into


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 20, 12, 0, 0)), raw)
    return packed.getvalue()
