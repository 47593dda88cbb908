"""Widgets without a kernel: each state is there, is what the chapter draws, and is shown by the controls."""

import io
import itertools
import math
import random
from functools import cache

import nbformat
import numpy as np
import pytest
from PIL import Image

from book.chapters import BookError, read
from book.dependencies import run, standing_on
from book.plots import is_filler
from book.site import states
from book.site.notebooks import prepared
from tests.book.notebooks.pages import CHAPTERS

NOTEBOOKS = {path.stem: path for path in sorted(CHAPTERS.glob("*.ipynb"))}
WITH_WIDGETS = [name for name, path in NOTEBOOKS.items() if any(map(states.shows_widget, read(path).cells))]
load = cache(states.load)

chapters = pytest.mark.parametrize("name", WITH_WIDGETS)


# --- which states ---------------------------------------------------------------------------------------


def test_all_places_are_kept_where_they_are_few():
    assert states.lattice([4, 5, 2], [1, 0, 0], [False, False, True]) == [[*range(4)], [*range(5)], [0, 1]]


def test_a_lattice_keeps_ends_first_values_and_options_and_no_more_than_asked(seed):
    rng = random.Random(seed)
    for _ in range(50):
        sizes = [rng.randint(2, 60) for _ in range(rng.randint(1, 4))]
        firsts = [rng.randrange(size) for size in sizes]
        whole = [rng.random() < 0.3 and size < 10 for size in sizes]
        places = states.lattice(sizes, firsts, whole)
        for kept, size, first, all_of_it in zip(places, sizes, firsts, whole, strict=True):
            assert {0, first, size - 1} <= set(kept) <= set(range(size)) and kept == sorted(set(kept))
            assert not all_of_it or kept == [*range(size)]
        fewest = math.prod(n if keep else len(states.spread(n, {0, first, n - 1}, 3))
                           for n, first, keep in zip(sizes, firsts, whole, strict=True))  # fmt: skip
        count = math.prod(map(len, places))
        assert count == math.prod(sizes) <= states.FEW or count <= max(states.MOST, fewest)


# --- a widget of ours -----------------------------------------------------------------------------------

SOURCE = """import numpy as np
from book.plots import lines
from book.widgets import Choice, Slider, explore

def curve(shape, dots, scale):
    x = np.linspace(0, 1, 11)
    y = scale * x if shape == "up" else 1 - x
    return lines({f"<x> at scale {scale}": (x, y)}, "x", "y", points=dots)

controls = {"shape": Choice(["up", "down"]), "dots": False}
explore(curve, **controls, scale=Slider(0.0, 1.0, 0.3, "the scale", 0.5))"""


def written(folder, source=SOURCE):
    """A notebook with one widget, run."""
    cell = nbformat.v4.new_code_cell(source, id="one")
    data, metadata = run([cell])["one"]._repr_mimebundle_()
    cell.outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata)]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "01_one.ipynb")
    return folder / "01_one.ipynb"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The same notebook, its states recorded."""
    notebook = written(tmp_path_factory.mktemp("recorded"))
    assert states.record(notebook) == ["one"]
    return notebook


def test_all_states_are_recorded_once_and_come_back(recorded):
    before = states.record_of(recorded).read_bytes()
    assert states.record(recorded) == [] and states.record_of(recorded).read_bytes() == before
    widget = states.load(recorded)["one"]
    states.save(recorded, [widget])
    assert states.record_of(recorded).read_bytes() == before
    assert [control.shown[control.first] for control in widget.controls] == ["up", "off", "0.3"]
    assert [control.label for control in widget.controls] == ["shape", "dots", "the scale"]
    assert widget.controls[2].shown == ["0", "0.3", "0.5", "1"] and len(widget.states) == 16
    assert widget.states[widget.first][1] == read(recorded).cells[0].outputs[0].data["text/plain"]
    # a line that falls is drawn without the scale: one picture for four texts, with dots and without
    assert len(widget.pixels) == len(widget.sizes) == 8 + 2


def settings(widget, explorer):
    """(places, values) of every recorded state, the values as the explorer's controls have them."""
    values = []
    for control, live in zip(widget.controls, explorer.controls.values(), strict=True):
        named = dict(live.settings())
        values.append([named[text] for text in control.shown])
    for places in itertools.product(*(range(len(these)) for these in values)):
        setting = [these[at] for these, at in zip(values, places)]
        yield places, dict(zip(explorer.controls, setting, strict=True))


def same(widget, places, picture):
    """Whether a state is this picture: its text to the letter, its colours but for a common palette."""
    number, alt = widget.states[widget.number(places)]
    want = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"), float)
    got = np.asarray(widget.image(number).convert("RGB"), float)
    assert alt == picture.alt and got.shape == want.shape
    apart = np.abs(got - want)
    return apart.mean() < 1 and (apart > 48).mean() < 0.002


def test_every_state_is_what_the_explorer_draws(recorded):
    widget, explorer = states.load(recorded)["one"], run(read(recorded).cells)["one"]
    for places, values in settings(widget, explorer):
        assert same(widget, places, explorer.draw(values))


@pytest.fixture
def copy(recorded, tmp_path):
    """The notebook and its record, to be changed."""
    states.record_of(tmp_path / recorded.name).parent.mkdir()
    for path in (recorded, states.record_of(recorded)):
        (tmp_path / path.relative_to(recorded.parent)).write_bytes(path.read_bytes())
    return tmp_path / recorded.name


AGAIN = "`toolkit states` draws its states anew"


def shown(notebook):
    told = []
    return states.widgets(notebook, notebook.parent / "pictures", "pictures", told.append), told


def test_an_old_or_missing_record_is_told_and_not_shown(copy):
    pages, told = shown(copy)
    assert list(pages) == ["one"] and not told
    written(copy.parent, SOURCE.replace("1 - x", "1 - 2 * x"))
    assert shown(copy) == ({}, [f"01_one, one: the record of this widget is of other sources; {AGAIN}"])
    states.record_of(copy).unlink()
    assert shown(copy) == ({}, [f"01_one, one: there is no record of this widget; {AGAIN}"])


def test_a_record_whose_first_picture_is_not_the_chapter_s_is_not_shown(copy):
    notebook = read(copy)
    notebook.cells[0].outputs[0].metadata["image/png"]["alt"] = "A line that does something else."
    nbformat.write(notebook, copy)
    assert shown(copy) == ({}, [f"01_one, one: the chapter shows another first picture; {AGAIN}"])


def test_pictures_are_written_once_and_equal_ones_are_one_file(copy):
    shown(copy)
    files = {path.name: path.stat().st_mtime_ns for path in (copy.parent / "pictures").iterdir()}
    assert len(files) == len(states.load(copy)["one"].pixels)
    shown(copy)
    assert files == {path.name: path.stat().st_mtime_ns for path in (copy.parent / "pictures").iterdir()}


def test_a_page_of_the_site_has_the_widget_in_place_of_the_picture(recorded):
    notebook = read(recorded)
    (alive,) = prepared(notebook, set(), {"one": "<p>alive</p>"}).cells[0].outputs
    assert alive.data == {"text/html": "<p>alive</p>"}
    assert prepared(notebook, set(), {}).cells == notebook.cells


def test_a_cell_that_ends_in_no_widget_is_a_sentence(tmp_path):
    cell = nbformat.v4.new_code_cell("from book.widgets import explore\nx = 1  # explore(", id="one")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "01_one.ipynb")
    with pytest.raises(BookError, match=r"^01_one.ipynb: cell one calls explore[^\n]* does not end in it$"):
        states.record(tmp_path / "01_one.ipynb")


# --- the chapters ---------------------------------------------------------------------------------------


@chapters
def test_every_widget_of_a_chapter_has_its_states(name):
    notebook, made = read(NOTEBOOKS[name]), load(NOTEBOOKS[name])
    cells = {cell.id: cell for cell in notebook.cells}
    of = states.sources(notebook)
    assert list(made) == list(of)
    assert not [told for cell in of if (told := states.wrong(name, made[cell], of[cell], cells[cell]))]
    for widget in made.values():
        assert len(widget.states) == math.prod(len(control.shown) for control in widget.controls)
        assert not any(is_filler(alt) for _, alt in widget.states)


def test_the_records_are_of_chapters_that_are_there_and_small():
    files = sorted((CHAPTERS / "states").iterdir())
    assert [path.stem for path in files] == WITH_WIDGETS
    assert sum(path.stat().st_size for path in files) < 10e6


@pytest.mark.slow
@chapters
def test_states_are_what_the_chapter_s_widget_shows(name, seed):
    """One control moved, each in turn, and one setting of all of them."""
    rng = random.Random(seed)
    values = run(standing_on(read(NOTEBOOKS[name]).cells, states.shows_widget))
    for widget in load(NOTEBOOKS[name]).values():
        explorer = values[widget.cell]
        firsts = [control.first for control in widget.controls]
        ends = [rng.choice([k for k in range(len(c.shown)) if k != c.first]) for c in widget.controls]
        moved = {tuple(ends), *(tuple(ends[k] if k == i else first for k, first in enumerate(firsts))
                                for i in range(len(ends)))}  # fmt: skip
        wanted = {places: values for places, values in settings(widget, explorer) if places in moved}
        assert len(wanted) == len(moved) and same(widget, firsts, explorer.picture)
        assert all(same(widget, places, explorer.draw(values)) for places, values in wanted.items())


# --- in a browser ---------------------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Widgets</title>
<link rel="stylesheet" href="explorer.css"><script src="explorer.js" defer></script><main>{}</main></html>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for pages, each made when it is first opened, with the pictures in states/."""
    folder = tmp_path_factory.mktemp("pages")
    for path in states.STATIC.glob("explorer.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def opened(browser, folder):
    """Opens the page with the widgets of a chapter."""
    contexts = []

    def of(name, **options):
        path = folder / f"{name}.html"
        if not path.exists():
            made = states.widgets(NOTEBOOKS[name], folder / "states", "states")
            path.write_text(PAGE.format("".join(made.values())), "utf8")
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.goto(path.as_uri())
        return page

    yield of
    for context in contexts:
        context.close()


def seen(explorer):
    """(file, alt text) of the picture of a widget in a page, once it is loaded."""
    image = explorer.locator("img")
    image.evaluate("image => image.scrollIntoView() || image.decode()")
    assert image.evaluate("image => image.naturalWidth") > 100
    return image.get_attribute("src").rsplit("/", 1)[1], image.get_attribute("alt")


KEYS = {"Slider": ("ArrowRight", "ArrowLeft"), "Choice": ("ArrowDown", "ArrowUp"), "Tick": ("Space", "Space")}


@pytest.mark.browser
@chapters
def test_each_control_moves_the_picture_and_its_text_by_keyboard(name, opened, folder):
    page = opened(name)
    failed = []
    page.on("pageerror", lambda error: failed.append(error))
    for cell, widget in load(NOTEBOOKS[name]).items():
        files = states.write_pictures(widget, folder / "states")
        explorer = page.locator(f"[id='{name}-{cell}']")
        firsts = [control.first for control in widget.controls]
        assert seen(explorer) == expected(widget, files, firsts)
        for i, control in enumerate(widget.controls):
            field = explorer.get_by_label(control.label, exact=True)
            forward = control.first + 1 < len(control.shown)
            field.press(KEYS[control.kind][0 if forward else 1])
            places = [at + (k == i) * (1 if forward else -1) for k, at in enumerate(firsts)]
            assert seen(explorer) == expected(widget, files, places) != expected(widget, files, firsts)
            if control.kind == "Slider":
                text = control.shown[places[i]]
                assert explorer.locator("output").nth(sliders_before(widget, i)).inner_text() == text
                assert field.get_attribute("aria-valuetext") == text
            field.press(KEYS[control.kind][1 if forward else 0])
            assert seen(explorer) == expected(widget, files, firsts)
    assert not failed


def expected(widget, files, places):
    picture, alt = widget.states[widget.number(places)]
    return files[picture], alt


def sliders_before(widget, i):
    return sum(control.kind == "Slider" for control in widget.controls[:i])


@pytest.mark.browser
def test_the_text_of_a_picture_that_changed_is_told_once_the_movement_ends(opened):
    page = opened(WITH_WIDGETS[0])
    explorer = page.locator(".explorer").first
    told = explorer.get_by_role("status")
    assert told.inner_text() == ""
    explorer.locator("input").first.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.explorer [role=status]').textContent")
    assert told.inner_text() == explorer.locator("img").get_attribute("alt")


@pytest.mark.browser
def test_without_javascript_the_first_picture_stands_alone(opened, folder):
    name = WITH_WIDGETS[0]
    page = opened(name, java_script_enabled=False)
    for cell, widget in load(NOTEBOOKS[name]).items():
        explorer = page.locator(f"[id='{name}-{cell}']")
        assert not explorer.locator(".explorer-controls").is_visible()
        assert explorer.locator("img").is_visible() and explorer.locator("noscript").is_visible()
        files = states.write_pictures(widget, folder / "states")
        picture, alt = expected(widget, files, [control.first for control in widget.controls])
        assert explorer.locator("img").get_attribute("src") == f"states/{picture}"
        assert explorer.locator("img").get_attribute("alt") == alt


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 2560])
def test_a_widget_fits_its_page(width, opened):
    for name in WITH_WIDGETS:
        page = opened(name, viewport={"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
