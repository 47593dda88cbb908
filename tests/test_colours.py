"""The book's colours as others see them, and whether what needs no colour is found to need none."""

import itertools
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from book.plots import COLOURS, DASHES, GREY, HATCHES, MARKERS, bars, lines, mark, new_figure
from tests.colours import APART, EYES, MACHADO, colour_alone, distance, linear, nearest, oklab, seen

ROOT = Path(__file__).resolve().parents[1]


def test_the_matrices_keep_white_and_grey():
    for matrix in MACHADO.values():
        assert np.allclose(np.sum(matrix, axis=1), 1, atol=2e-6)
    for level in (0.0, 0.3, 1.0):
        for eye in EYES:
            assert np.allclose(seen([level] * 3, eye), oklab(linear([level] * 3)), atol=1e-4)


def test_oklab_has_its_published_values():
    """White, red, green and blue, as CSS Color 4 gives them."""
    assert np.allclose(oklab([1, 1, 1]), [1, 0, 0], atol=1e-3)
    assert np.allclose(oklab([1, 0, 0]), [0.628, 0.225, 0.126], atol=1e-3)
    assert np.allclose(oklab([0, 1, 0]), [0.866, -0.234, 0.179], atol=1e-3)
    assert np.allclose(oklab([0, 0, 1]), [0.452, -0.032, -0.312], atol=1e-3)


def test_red_and_green_are_one_to_whom_the_matrices_are_for():
    """A red and a green of one lightness, far apart to most, are near to a deuteranope, and a blue is not."""
    red, green, blue = to_rgb("#C85A28"), to_rgb("#8A7A20"), to_rgb("#0072B2")
    assert distance(red, green, "ordinary") > 2 * distance(red, green, "deuteranopia")
    assert distance(red, blue, "deuteranopia") > 0.2


@pytest.mark.parametrize("eye", ["ordinary", *MACHADO])
def test_all_colours_of_the_book_differ_to_every_eye(eye):
    pairs = itertools.combinations(map(to_rgb, COLOURS), 2)
    assert min(distance(a, b, eye) for a, b in pairs) > APART


def test_in_grey_every_series_has_two_signs_of_its_own():
    """In grey some of the seven colours are as good as equal, so none may be told by its colour alone."""
    greys = [distance(to_rgb(a), to_rgb(b), "grey") for a, b in itertools.combinations(COLOURS, 2)]
    assert min(greys) < APART
    assert len(set(DASHES)) == len(set(MARKERS)) == len(set(HATCHES)) == len(COLOURS) == 7
    for one, other in itertools.combinations(map(mark, range(7)), 2):
        assert one["linestyle"] != other["linestyle"] and one["marker"] != other["marker"]


def test_what_is_told_by_colour_alone_is_found():
    fig, ax = new_figure()
    ax.plot([0, 1], color=COLOURS[3], label="a")
    ax.plot([1, 0], color=COLOURS[4], label="b")
    ax.plot([1, 1], color=COLOURS[4], linestyle="--", label="c")
    ax.fill_between([0, 1], [0, 1], color=COLOURS[4], label="d")
    ax.legend()
    (said,) = colour_alone(fig)
    assert said.startswith("'a' and 'b' differ by 0.0") and "'grey'" in said


def test_thick_and_thin_hollow_and_full_are_signs():
    fig, ax = new_figure()
    ax.plot([0, 1], linewidth=1, color=GREY, label="thin")
    ax.plot([0, 1], linewidth=3, color=GREY, label="thick")
    ax.plot([0, 1], "o", color=GREY, label="full")
    ax.plot([0, 1], "o", color=GREY, markerfacecolor="white", label="hollow")
    ax.scatter([0, 1], [0, 1], s=4, color=GREY, label="small")
    ax.scatter([0, 1], [0, 1], s=90, color=GREY, label="large")
    ax.legend()
    assert not colour_alone(fig)


def test_shared_figures_need_no_colour():
    many = {f"series {i}": ([0, 1, 2], [i, 2 * i, 1]) for i in range(7)}
    assert not colour_alone(lines(many).fig)
    assert not colour_alone(lines(many, points=False).fig)
    grouped = {group: {f"series {i}": i + 1 for i in range(7)} for group in "ab"}
    assert not colour_alone(bars(grouped).fig)


def test_colour_maps_grow_lighter_all_the_way():
    """What a map of colours says stays in grey: each that a figure uses has one direction in lightness."""
    code = "".join(path.read_text("utf8") for path in (ROOT / "book").rglob("*.py"))
    names = set(re.findall(r"""cmap=["'](\w+)["']""", code))
    assert len(names) >= 3
    for name in names:
        colours = matplotlib.colormaps[name](np.linspace(0, 1, 64))[:, :3]
        for eye in EYES:
            light = np.diff([seen(colour, eye)[0] for colour in colours])
            assert (light > -2e-3).all() or (light < 2e-3).all(), (name, eye)


def test_the_nearest_eye_is_named():
    far, eye = nearest(to_rgb(COLOURS[5]), to_rgb(COLOURS[6]))
    assert eye == "grey" and far < 0.02
