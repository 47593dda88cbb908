"""What every chapter owes its reader, read off the committed notebooks; nbval and the builder run them."""

import ast
import builtins
import re
from pathlib import Path

import nbformat
import pytest

from book.chapters import SECONDS, TAG, lint, number, pieces, read, reading_load, reading_minutes, words
from book.plots import is_filler

ROOT = Path(__file__).resolve().parents[3]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
# chapter 0 is a welcome and an appendix is looked up in: neither has a length to keep
TAUGHT = [path for path in CHAPTERS if number(path) not in ("00", None)]
FIRST_READING = 45  # minutes, of a main notebook; what is for the day when one needs it has a b: 03b
chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
taught = pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)


def pictures(path):
    """``(cell id, alt)`` of each picture among the outputs."""
    return [
        (cell.id, output.metadata.get("image/png", {}).get("alt"))
        for cell in read(path).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


@chapter
def test_source_keeps_the_rules(path):
    assert lint(read(path)) == []


@chapter
def test_is_executed_without_errors_or_noise(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.get("name", output.output_type) for cell in cells for output in cell.outputs}
    assert not kinds & {"stderr", "error"}


@chapter
def test_every_picture_has_alt_text_of_its_own(path):
    alts = [alt for _, alt in pictures(path)]
    assert not [cell for cell, alt in pictures(path) if is_filler(alt)]
    assert len(set(alts)) == len(alts), "two pictures with one alt text"


@chapter
def test_header_says_what_for_and_how_long(path):
    head = read(path).cells[0]
    assert head.cell_type == "markdown" and head.source.startswith("# ")
    text = " ".join(re.sub(r"[*|]", " ", head.source).lower().split())
    assert "after this chapter you can" in text and "you need" in text
    assert "goes with" in text or "accompanies" in text, "the textbook's sections"
    assert re.search(r"\bread(ing)? (about )?\d+ minutes", text)
    assert re.search(r"\brun(ning)? (under |about )?(a|\d+) (seconds|minute)", text)


@pytest.mark.parametrize("part", sorted({number(path) for path in TAUGHT} | {"A"}))
def test_sections_are_numbered_without_a_gap(part):
    """Through a chapter's notebooks: 3b goes on where 3 ends."""
    texts = (cell.source for path in CHAPTERS if path.stem.startswith(part) for cell in read(path).cells)
    found = [int(n) for text in texts for n in re.findall(rf"(?m)^## {part.lstrip('0')}\.(\d+) ", text)]
    assert found == list(range(1, len(found) + 1))


@chapter
def test_header_names_the_estimated_minutes(path):
    notebook = read(path)
    first, whole = reading_minutes(notebook), reading_minutes(notebook, first=False)
    said = f"**Reading** about {first} minutes" + f" the first time, {whole} with" * (whole != first)
    assert said in notebook.cells[0].source, f"`book.chapters.reading_minutes` estimates: {said} …"


@chapter
def test_first_reading_of_a_main_notebook_is_short(path):
    if not path.stem[:3].endswith("b"):
        assert reading_minutes(read(path)) <= FIRST_READING, reading_load(read(path))


def names(source):
    """The names that a cell reads before it binds them, roughly, and those that it binds."""
    nodes = list(ast.walk(ast.parse(source)))
    used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    own = {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    bound |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    bound |= {n.asname or n.name for n in nodes if isinstance(n, ast.alias)}
    return used - own - bound, bound


@chapter
def test_first_reading_needs_no_name_from_a_part_for_later(path):
    for_later = {}  # name -> whether the cell that bound it last is for later
    for cell, later in pieces(read(path)):
        if not isinstance(cell, str):
            used, bound = names(cell.source)
            if not later:
                unknown = {name for name in used if for_later.get(name, not hasattr(builtins, name))}
                assert not unknown, f"{cell.id} needs {sorted(unknown)}"
            for_later |= dict.fromkeys(bound, later)


@chapter
def test_code_that_is_seen_needs_no_name_from_a_cell_whose_source_is_folded(path):
    folded = {}  # name -> whether the source of the cell that bound it last is folded
    for cell in read(path).cells:
        if cell.cell_type == "code":
            hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
            used, bound = names(cell.source)
            unseen = {name for name in used if folded.get(name)}
            assert hidden or not unseen, f"{cell.id} needs {sorted(unseen)}"
            folded |= dict.fromkeys(bound, hidden)


@chapter
def test_first_reading_cites_no_equation_from_a_part_for_later(path):
    body = [(piece, later) for piece, later in pieces(read(path)) if isinstance(piece, str)][1:]  # no header
    numbers = {tag for text, later in body if later for tag in TAG.findall(text)}
    cited = {found for text, later in body if not later for found in re.findall(r"\((\w+\.\d+)\)", text)}
    assert not cited & numbers


def test_first_reading_leaves_out_what_is_marked_folded_or_a_list_of_sources():
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    folded = nbformat.v4.new_output("display_data", {"text/html": "<details><tr><td>1</td></tr>"})
    notebook = nbformat.v4.new_notebook(
        cells=[
            text("# Title\n\none two\n\n<details><summary><b>Primer</b></summary>\n\nthree four</details>"),
            text("## 1.1 Part\n\n<details><summary>Answer</summary>five</details>\n\n### Proof ◦\n\n$$x$$"),
            code("x = 1\n\nimport os", outputs=[folded]),
            text("#### Deeper\n\n$$y$$\n\n### Next\n\n**Predict** $z$\n\n| a | b |\n|---|---|\n| c | d |"),
            code("x = 2", metadata={"jupyter": {"source_hidden": True}}, outputs=[folded]),
            text("## Sources\n\n" + "word " * 1000),
        ]
    )
    first, whole = reading_load(notebook), reading_load(notebook, first=False)
    # Title, one, two, Part, Answer, five, Next, Predict, z; then Primer, three, four, Proof, Deeper
    assert first == dict.fromkeys(SECONDS, 0) | {"word": 9, "prediction": 1, "row": 2}
    assert whole == first | {"word": 14, "equation": 2, "line": 2, "row": 4}
    assert reading_minutes(notebook) == 0 and reading_minutes(notebook, first=False) == 0


def test_minutes_are_those_of_the_rates():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("word " * 1300 + "$$x$$ " * 20)])
    assert reading_minutes(notebook) == 25


RULES = "08d_contest"  # a page of rules, short on purpose


@taught
def test_length_figures_and_widget(path):
    source = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    # 2,500 to 4,000 words is the aim; a tenth either way is a matter of counting.
    assert (1000 if path.stem == RULES else 2250) <= words(read(path)) <= 4400
    assert (4 if path.stem == RULES else 8) <= len(pictures(path)) <= 16
    assert "explore(" in source, "one interactive widget that is worth moving"


@taught
def test_asks_to_predict(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown").lower()
    assert text.count("predict") >= 3, "predict-before-you-run questions"


@chapter
def test_links_inside_the_project_lead_somewhere(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in t]
    assert not [t for t in targets if not (path.parent / t).exists()]
