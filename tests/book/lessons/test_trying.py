"""Cells that use an answer run before there is one, and hide no mistake once there is."""

import math

import pytest
import torch
from matplotlib.figure import Figure

from book.lessons import attempt, look


def stub(*_):
    raise NotImplementedError


@pytest.mark.parametrize(
    "use",
    [
        stub,
        lambda: ... * 2.0,
        lambda: 2.0 - ...,
        lambda: (lambda answer: answer(1))(...),
        lambda: math.sqrt(...),
        lambda: torch.ones(2) + ...,
        lambda: ... @ torch.ones(2, 2),
        lambda: abs(...),
        lambda: sum(...),
        lambda: ... < 1,
        lambda: f"{...:.3f}",
    ],
)
def test_a_stub_is_no_error(use, capsys):
    assert attempt(use) is None
    assert capsys.readouterr().out == "Nothing to measure yet.\n"


@pytest.mark.parametrize("use", [lambda: None * 2.0, lambda: stub.nothing, lambda: 1 / 0, lambda x: x])
def test_a_mistake_in_an_answer_is_seen(use, capsys):
    with pytest.raises((TypeError, AttributeError, ZeroDivisionError)):
        attempt(use)
    assert capsys.readouterr().out == ""


def test_what_is_measured_comes_back(capsys):
    assert attempt(lambda a, b: a - b, 3, 1) == 2
    assert capsys.readouterr().out == ""


def test_a_figure_is_shown_once_it_can_be_drawn(capsys):
    alt = "A line that falls from left to right."
    assert look(stub, 1, alt=alt) is None
    assert capsys.readouterr().out == "No figure yet.\n"
    picture = look(lambda title: Figure().add_subplot(title=title), "x", alt=alt)
    assert picture.alt == alt and picture.axes[0].get_title() == "x"
    with pytest.raises(TypeError):
        look(lambda: None, 1, alt=alt)
