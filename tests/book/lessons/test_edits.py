"""A mistake as an edit: the same function but for a few fragments, each of which is found exactly once."""

import sys

import pytest

from book.lessons import Mistake, Task, changed, changes
from book.lessons.diagnose import full_answer

RATE = 2.0


def half(x):
    return x / 2


def step(x, h, *, order=1):
    """One step of size h ** (1 / (order + 1))."""

    def size(value):
        return half(value) * RATE

    return x + h ** (1 / (order + 1)) * size(x)


def walk(x, steps):
    for h in steps:
        x = step(x, h)
    return x


def test_a_fragment_is_replaced_and_the_rest_stays():
    other = changed(step, ("(order + 1)", "order"), ("x + h", "x - h"))
    assert other(3.0, 0.5) == 3.0 - 0.5 * 3.0 and step(3.0, 0.5) == 3.0 + 0.5**0.5 * 3.0
    assert other(3.0, 0.5, order=2) == 3.0 - 0.5**0.5 * 3.0
    assert other.__name__ == "step" and other.__globals__ is step.__globals__


def test_several_lines_are_one_fragment_and_a_later_edit_sees_the_earlier():
    other = changed(
        walk, ("    for h in steps:\n        x", "    for h in steps[1:]:\n        x"), ("[1:]", "[2:]")
    )
    assert other(1.0, [0.1, 0.2, 0.3]) == step(1.0, 0.3)


def test_an_answer_of_a_module_is_changed_by_its_name():
    wrong = changes(sys.modules[__name__])("step", ("x + h", "x - h"), half=lambda x: x)
    assert list(wrong) == ["step"] and wrong["step"](3.0, 0.5) == 3.0 - 0.5**0.5 * 6.0


def test_another_function_takes_the_place_of_a_helper():
    other = changed(step, half=lambda x: x)
    assert other(3.0, 0.25) == 3.0 + 0.5 * 6.0
    assert changed(walk, ("step(x, h)", "step(x, 2 * h)"), step=other)(3.0, [0.125]) == other(3.0, 0.25)
    assert half(3.0) == 1.5


@pytest.mark.parametrize(
    "edits, names, words",
    [
        ([("hh", "h")], {}, "'hh' must occur once in step, and occurs 0 times"),
        ([("order", "p")], {}, "'order' must occur once in step, and occurs 2 times"),
        ([("(order + 1)", "order"), ("(order + 1)", "order")], {}, "occurs 0 times"),
        ([("x + h", "x +")], {}, "step as changed is not Python"),
        ([], {"walk": half}, "step reads no name 'walk' of its module"),
        ([], {}, "nothing to change"),
    ],
)
def test_what_does_not_fit_is_told(edits, names, words):
    with pytest.raises(ValueError) as caught:
        changed(step, *edits, **names)
    assert words in str(caught.value)


def test_an_error_in_a_changed_function_shows_its_line():
    import traceback

    try:
        changed(half, ("x / 2", "x / 0"))(1.0)
    except ZeroDivisionError as error:
        assert "return x / 0" in "".join(traceback.format_exception(error))


def task(**reference):
    return Task(
        id="97.1",
        title="Own",
        kind="number",
        difficulty=1,
        minutes=1,
        points=1,
        names=tuple(reference),
        probe=lambda answer, seed: {},
        reference=reference,
        mistakes=(Mistake({}, "No."),),
        hints=("a", "b", "c"),
    )


def test_a_right_answer_calls_the_wrong_one_as_in_a_notebook():
    wrong = changed(step, ("x + h", "x - h"))
    named = task(one=step, path=walk, number=7.0, other=half)
    full = full_answer(named, {"one": wrong})
    assert list(full) == ["one", "path", "number", "other"] and full["number"] == 7.0
    assert full["path"](1.0, [0.25]) == wrong(1.0, 0.25) != walk(1.0, [0.25])
    assert full["other"] is half and full_answer(named, {"number": 0})["number"] == 0
    assert full_answer(named, {"number": 8.0})["path"] is walk
    alone = full_answer(named, wrong)
    assert alone["one"] is wrong and alone["path"](1.0, [0.25]) == full["path"](1.0, [0.25])


def test_a_task_without_its_right_answers_is_refused():
    with pytest.raises(ValueError, match="task 97.1: the right answer is missing"):
        Task(**{**vars(task()), "names": (), "reference": None})
    with pytest.raises(ValueError, match="task 97.1: the reference has to be a dict of f, g"):
        Task(**{**vars(task(f=half)), "names": ("f", "g")})
