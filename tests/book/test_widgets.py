"""explore(): a live picture with alt text, and a static twin in the same output."""

import base64
import html
import re

import numpy as np
import pytest

from book.plots import lines
from book.widgets import VIEW, Choice, Slider, explore


def draw(power=1, shape="up", dots=False):
    if power == 5:
        raise ValueError("five is <not> a power")
    x = np.linspace(0, 1, 11)
    y = x**power if shape == "up" else 1 - x**power
    return lines({f"power {power}": (x, y)}, "x", "y", points=dots)


def shown(explorer):
    """``(png, alt)`` of the live picture, or the words of the error that is shown."""
    value = explorer.children[-1].value
    image = re.fullmatch(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)"[^>]*>', value)
    if image:
        return base64.b64decode(image[2]), html.unescape(image[1])
    return html.unescape(re.fullmatch(r'<p role="alert"[^>]*>([^<]*)</p>', value)[1])


def holders(explorer):
    return explorer._holders


def test_live_and_static_picture_agree():
    explorer = explore(draw, power=Slider(1, 6, 2), shape=Choice(["up", "down"]))
    data, metadata = explorer._repr_mimebundle_()
    png, alt = shown(explorer)
    assert base64.b64decode(data["image/png"]) == png
    assert data["text/plain"] == metadata["image/png"]["alt"] == alt == repr(explorer)
    assert VIEW in data


def test_moving_a_control_changes_picture_and_alt_but_not_the_static_twin():
    explorer = explore(draw, power=Slider(1, 6, 2), shape=Choice(["up", "down"]), dots=True)
    static, before = explorer._repr_mimebundle_()[0]["image/png"], shown(explorer)
    holders(explorer)["power"].value = 3
    assert shown(explorer) != before and "power 3" in shown(explorer)[1]
    holders(explorer)["shape"].value = "down"
    assert explorer.values == {"power": 3, "shape": "down", "dots": True}
    assert "falls" in shown(explorer)[1]
    assert explorer._repr_mimebundle_()[0]["image/png"] == static


def test_slider_and_labelled_box_move_together():
    explorer = explore(draw, power=Slider(1, 6, 2, "the power"))
    box, slider = explorer.children[0].children
    slider.value = 4
    assert box.value == 4 and box.description == "the power" and explorer.values == {"power": 4}
    box.value = 3
    assert slider.value == 3


def test_each_setting_is_drawn_once():
    calls = []
    explorer = explore(lambda power: calls.append(power) or draw(power), power=(1, 6, 2))
    for value in (3, 2, 3, 2):
        holders(explorer)["power"].value = value
    assert calls == [2, 3]


def test_a_slider_that_counts_in_floats_draws_one_setting_once():
    """0.9 and a step of 0.02 are 0.92 to a reader, to the box beside the slider, and to the picture."""
    calls = []
    explorer = explore(lambda t: calls.append(t) or draw(2), t=Slider(0.1, 0.98, 0.9, step=0.02))
    holder = holders(explorer)["t"]
    for value in (0.9 + 0.02, 0.92, 0.92 - 0.02):
        holder.value = value
    assert calls == [0.9, 0.92]


def test_an_error_is_a_sentence_later_and_raised_at_first():
    explorer = explore(draw, power=Slider(1, 6, 2))
    holders(explorer)["power"].value = 5
    assert shown(explorer) == "No picture for power = 5: five is <not> a power"
    holders(explorer)["power"].value = 4
    assert "power 4" in shown(explorer)[1]
    with pytest.raises(ValueError, match="five is <not> a power"):
        explore(draw, power=Slider(1, 6, 5))


def test_forms_of_controls():
    explorer = explore(
        lambda **values: draw(), a=(0, 1, 0.5), b=["x", "y"], c={"one": 1, "two": 2}, d=False, e=(1, 9)
    )
    assert explorer.values == {"a": 0.5, "b": "x", "c": 1, "d": False, "e": 1}


@pytest.mark.parametrize(
    "controls",
    [
        {},
        {"power": 3},
        {"power": Slider(2, 1)},
        {"power": Slider(1, 3, 7)},
        {"power": Choice([])},
        {"power": "ab"},
    ],
)
def test_bad_controls_are_one_sentence(controls):
    with pytest.raises(ValueError, match=r"^[^\n]{20,}$"):
        explore(draw, **controls)


def test_draw_must_return_a_picture():
    with pytest.raises(ValueError, match="must return a Picture"):
        explore(lambda power: None, power=(1, 3, 2))
