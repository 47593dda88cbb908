"""Appendix A has a line for every point of the five texts and every claim; its links lead where they say."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from html import unescape
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from book import chapters
from book import claims as module
from book.appendix import finder, neighbours, page, pictures, places, rows
from book.claims import VERDICTS, claims
from studies import neighbours as study
from tests.book.notebooks.lab import CHROMIUM
from toolkit import initial_noise

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "chapters" / page.NAME
ROWS = rows.rows()


def text():
    """The Markdown of the committed appendix."""
    return "\n".join(cell.source for cell in chapters.read(PAGE).cells if cell.cell_type == "markdown")


@pytest.fixture(scope="module")
def made():
    """The appendix as the code makes it now."""
    return page.notebook()


def codes(shown):
    """What stands in brackets at the end of lines and of entries: ids of rows and of claims."""
    return {code for inside in re.findall(r"\(([^()]+)\)", shown) for code in re.split(r", ?", inside)}


# --- the list of points ---------------------------------------------------------------------------------


def test_no_point_is_left_out():
    """The points of each text are numbered without a gap."""
    numbers = defaultdict(list)
    for row in ROWS:
        letters, number = re.fullmatch(r"([A-Z]+)(\d+)", row.id).groups()
        numbers[letters].append(int(number))
    firsts = {letters: min(found) for letters, found in numbers.items()}
    assert {letters for letters, first in firsts.items() if first} == set(firsts) - {"BP"}
    for letters, found in numbers.items():
        assert sorted(found) == list(range(firsts[letters], firsts[letters] + len(found))), letters
    assert len(ROWS) >= 360


def test_what_claims_and_tasks_name_is_a_point():
    named = {code for one in claims() for code in rows.ids(one)}
    named |= {code for practised in places.tasks().values() for code in practised}
    kinds = {re.sub(r"\d", "", row.id) for row in ROWS}  # T, BT, C, ...: papers and libraries have others
    of_texts = {
        code for code in named if re.fullmatch(r"[A-Z]+\d+", code) and re.sub(r"\d", "", code) in kinds
    }
    strangers = of_texts - {row.id for row in ROWS}
    assert not strangers, "new points need a line in book/appendix/rows.toml"


def test_every_point_is_answered_or_named_with_what_is_missing():
    practised = {code for found in places.tasks().values() for code in found}
    answered = lambda row: row.right or row.claims or row.at or row.tasks or row.id in practised
    assert not [row.id for row in ROWS if not (row.says or row.claims)], "our words are missing"
    assert not [row.id for row in ROWS if not answered(row)], "nothing answers them"


def test_what_a_point_names_is_there():
    known = {one.id for one in claims()} | set(places.tasks())
    for row in ROWS:
        assert set(row.also) | set(row.tasks) <= known, row.id
        for reference in [*row.at, *(spot for _, _, spots in row.parts for spot in spots.split())]:
            places.at(reference)


def test_a_point_of_prose_says_what_is_right_and_why():
    prose = [row for row in ROWS if row.kind in rows.PROSE and row.says and not row.at]
    assert all(row.right for row in prose)


def test_points_of_which_a_part_is_not_done_are_listed(made):
    (cell,) = [cell for cell in made.cells if cell.id == "what-is-not-done"]
    assert {row.id for row in ROWS if row.rest} <= set(re.findall(r"\w+", cell.source))


def test_a_told_place_belongs_to_a_claim_that_no_cell_shows():
    by_id = {one.id: one for one in claims()}
    for claim, reference in rows.told().items():
        places.at(reference)
        one = by_id[claim]
        assert not places.shown(one.chapter, one.experiment.__name__), f"{claim} is shown: drop its line"


# --- the page -------------------------------------------------------------------------------------------


def test_every_point_and_every_claim_has_a_line():
    shown = text()
    there = codes(shown)
    missing = [row.id for row in ROWS if not re.search(rf"\b{row.id}\b", shown)]
    assert not missing
    assert not [one.id for one in claims() if not set(rows.ids(one)) <= there]


def test_the_page_is_what_the_code_makes(made):
    committed = chapters.read(PAGE)
    assert [(c.id, c.source) for c in committed.cells] == [(c.id, c.source) for c in made.cells]
    assert committed.metadata["made_by"] == made.metadata["made_by"] == "book.appendix.page"


def test_a_page_that_is_made_is_made_anew_when_the_book_is_built(monkeypatch):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("new")])
    monkeypatch.setattr(page, "notebook", lambda: made)
    old = nbformat.v4.new_notebook(metadata={"made_by": "book.appendix.page"})
    assert chapters.made(old) is made
    plain = nbformat.v4.new_notebook()
    assert chapters.made(plain) is plain


def test_sections_come_in_the_order_of_the_texts():
    shown = text()
    spots = [shown.index(f"### {section.heading}\n") for t in rows.texts() for section in t.sections]
    assert spots == sorted(spots)


def ends(path):
    """What a link into a notebook may end in: its cells, as JupyterLab and nbconvert name them."""
    return {f"cell-id={cell['id']}" for cell in json.loads(path.read_text("utf8"))["cells"]}


def test_every_link_leads_to_an_anchor():
    table = finder.finder()._repr_html_()
    links = set(re.findall(r"\]\(([^)\s]+)\)", text())) | set(
        map(unescape, re.findall(r'href="([^"]+)"', table))
    )
    inside = [link.split("#") for link in links if "://" not in link]
    assert len(inside) > 150
    files = {name for name, *_ in inside}
    assert all((PAGE.parent / name).is_file() for name in files)
    known = {name: ends(PAGE.parent / name) for name in files if name.endswith(".ipynb")}
    assert not [(name, anchor) for name, *rest in inside for anchor in rest if anchor not in known[name]]


def test_a_place_is_a_section_and_a_heading_in_it():
    section = places.at("2.4")
    assert section.notebook == "02_ddim.ipynb" and section.title == section.section_title
    inner = places.at("2.4 Three mistakes")
    assert (
        inner.section == "2.4"
        and inner.link == "[section 2.4, Three mistakes](02_ddim.ipynb#cell-id=step-read)"
    )
    with pytest.raises(ValueError, match="no heading '2.4 Nowhere'"):
        places.at("2.4 Nowhere")


# --- pictures -------------------------------------------------------------------------------------------


def test_a_claim_that_carries_a_figure_names_a_picture_of_its_chapter():
    carried = [(one.chapter, one.figure) for one in claims() if one.figure]
    carried += [tuple(row.figure.split()) for row in ROWS if row.figure]
    assert len(set(carried)) > 50
    assert all(pictures.picture(*one).alt for one in carried)
    with pytest.raises(ValueError, match="chapter 02 has no cell 'nowhere' with a picture"):
        pictures.picture("02", "nowhere")


def test_every_section_has_a_picture_but_those_of_prose_and_of_listings():
    """Of prose nothing is measured, and of a listing the code is what is to be seen."""
    plain = {*rows.PROSE, "listing"}
    sections = [section for text in rows.texts() for section in text.sections]
    carried = lambda row: row.figure or any(one.figure for one in row.claims)
    bare = [section for section in sections if not any(map(carried, section.rows))]
    assert not [one.heading for one in bare if not {row.kind for row in one.rows} <= plain]
    assert len(bare) < len(sections) / 10


def test_each_picture_is_shown_once_and_is_the_chapter_s():
    calls = re.compile(r'picture\("(\d\d)", "([\w-]+)"\)')
    shown = {}
    for cell in chapters.read(PAGE).cells:
        for chapter, name in calls.findall(cell.source) if cell.cell_type == "code" else ():
            assert (chapter, name) not in shown
            shown[chapter, name] = cell.outputs[0].data["image/png"]
    assert set(shown) == {(o.chapter, o.figure) for o in claims() if o.figure and o not in rows.outside()} | {
        tuple(row.figure.split()) for row in ROWS if row.figure
    }
    assert all(pictures.picture(*one).png.replace("\n", "") == png for one, png in shown.items())


# --- the table with its filter --------------------------------------------------------------------------


def test_the_table_has_all_claims_and_the_counts_are_its():
    lines = finder.lines()
    assert {line["claim"].id for line in lines} == {one.id for one in claims()}
    assert sum(finder.counts()["all"].values()) == len(claims())
    letters = [text.letter for text in rows.texts()]
    assert set(finder.counts()) == {*letters, "others", "all"}
    assert sum(sum(finder.counts()[one].values()) for one in [*letters, "others"]) == len(lines)


def test_the_table_is_whole_without_a_script():
    shown = finder.finder()._repr_html_()
    assert "<select" not in shown.split("<script>")[0] and "display:none" not in shown
    assert shown.count("<tr ") == len(finder.lines())
    assert set(re.findall(r'data-verdict="([^"]+)"', shown)) <= {
        v.replace(" if", " if …") for v in VERDICTS.values()
    }


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
def test_the_choices_leave_the_lines_that_fit():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = browser.new_page()
        shown.set_content(finder.finder()._repr_html_())
        assert shown.locator("select").count() == len(finder.FILTERS) == shown.locator("label").count()
        shown.select_option("select[name=text]", "B")
        shown.select_option("select[name=verdict]", "holds")
        fit = [line for line in finder.lines() if (line["text"], line["claim"].verdict) == ("B", "holds")]
        assert shown.locator("tbody tr:visible").count() == len(fit)
        assert shown.get_by_role("status").inner_text().strip().startswith(f"{len(fit)} of ")
        offered = shown.locator("select[name=chapter] option:not([hidden])").all_inner_texts()
        assert set(offered) == {"all", *(str(int(line["claim"].chapter)) for line in fit)}
        shown.select_option("select[name=text]", "")
        assert shown.locator("tbody tr:visible").count() > len(fit)
        browser.close()


@pytest.mark.parametrize(
    ("source", "letters"),
    [
        ("S, section 2.1; I", "SI"),
        ("Textbook, section 8.2.4, and folklore", "T"),
        ("Folklore: of a textbook", ""),
    ]
    + [("PyTorch tutorial; summary", "PS"), ("Blog, on AMED", "B"), ("Song et al. 2023, appendix C", "")],
)
def test_a_source_names_its_texts(source, letters):
    class One:
        pass

    One.source = source
    assert rows.said_in(One) == set(letters)


# --- neighbours -----------------------------------------------------------------------------------------


def test_the_record_of_neighbours_is_of_claims_and_neighbours_that_there_are():
    """Those that it lacks are named on the page as not tried yet."""
    by_id = {one.id: one for one in claims()}
    assert set(neighbours.record()) <= set(by_id), "`python -m studies.neighbours untried` mends it"
    for id, found in neighbours.record().items():
        assert set(found) <= {neighbours.SEEDS, *by_id[id].neighbours}, id
        beside = {verdict for name, verdict in found.items() if name != neighbours.SEEDS}
        assert beside <= {*VERDICTS.values()}, id
        assert found.get(neighbours.SEEDS) in {*VERDICTS.values(), neighbours.NOTHING, None}, id


def test_a_claim_that_turns_on_a_neighbour_says_so_in_its_finding_and_on_the_page():
    shown = text()
    for one in claims():
        entry = next(line for line in shown.splitlines() if line.endswith(f"({one.id})"))
        turned = neighbours.turned(one)
        assert [name for name in turned if f"*With {name}: {turned[name]}.*" not in entry] == [], one.id
        assert entry.count("*With ") == len(turned), one.id
        assert [name for name in turned if name not in one.finding] == [], one.id


def test_most_claims_that_can_be_are_tried_on_other_data_schedules_or_grids():
    beside = [one for one in claims() if one.neighbours]
    assert len(beside) > len(claims()) / 2
    assert all(name != neighbours.SEEDS for one in beside for name in one.neighbours)


@pytest.mark.slow
def test_the_record_is_what_the_study_finds():
    """In a process of its own: claims that draw, that draw nothing, that share an experiment, that turn."""
    wanted = ["BT4", "BI10", "C01", "BT10, E3", "BS11", "BP23", "T10", "B18, AMED"]
    words = [sys.executable, "-m", "studies.neighbours", *wanted]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {one: neighbours.record()[one] for one in wanted}


SCALE = 2.0


def scaled(x=1.0):
    return {"x": SCALE * x, "scale": SCALE}


def tried(monkeypatch, **named):
    """A claim on `scaled` with these neighbours, in a registry of its own."""
    monkeypatch.setattr(module, "REGISTRY", {})
    fields = dict(source="s", says="Two is large", verdict=True, finding="f")
    large = module.claim("A", holds=lambda r: r["scale"] >= 2 and r["x"] > 1, **fields)
    large(module.tried_on(named)(scaled))
    return module.REGISTRY["A"]


def test_a_neighbour_replaces_arguments_and_names_while_the_experiment_runs(monkeypatch):
    one = tried(monkeypatch, smaller={"SCALE": 1.0}, left={"x": 0.25}, both={"SCALE": 4.0, "x": 0.5})
    assert study.beside([one], one.neighbours) == {
        "smaller": {"A": "fails"}, "left": {"A": "fails"}, "both": {"A": "holds"}
    }  # fmt: skip
    assert SCALE == 2.0 and one.decided() == "holds"
    known = {neighbours.SEEDS: "holds", "left": "told before"}
    (found,) = study.decided([one], {"A": known})
    assert found["A"] == known | {"smaller": "fails", "both": "holds"}


def test_a_neighbour_that_is_none_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="scaled has no argument, and its module no name, 'size' to replace"):
        tried(monkeypatch, other={"size": 3.0})
    same = tried(monkeypatch, same={"SCALE": 2.0})
    with pytest.raises(ValueError, match="'same' changes no number of scaled"):
        study.beside([same], same.neighbours)


def test_seeds_are_moved_within_and_as_before_outside():
    draw = lambda: (
        initial_noise(2, 3, seed=5).sum().item(),
        torch.randn(3, generator=torch.Generator().manual_seed(5)).sum().item(),
        np.random.default_rng(5).standard_normal(),
    )
    before = draw()
    with study.moved(1000) as drawn:
        within = draw()
    assert len(drawn) == 3 and draw() == before
    assert all(one != other for one, other in zip(before, within, strict=True))
    assert within[0] == initial_noise(2, 3, seed=1005).sum().item()
