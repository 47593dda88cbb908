"""The check says what is wrong by what an answer does, in one sentence, and leaves the student's world as it
was."""

import math
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from book.lessons import Made, Mistake, NotTried, NotYet, Remark, Task, check, judge, read_axes
from book.lessons.checking import NoSuchTask
from book.lessons.diagnose import diagnose, observe
from book.lessons.probes import axes_values, describe, error_lines, normal, right_numbers
from tests.book.lessons import lesson_99

pytestmark = pytest.mark.usefixtures("lesson99")


def returns_nothing(x0, alpha, sigma, eps):
    alpha * x0 + sigma * eps


def too_few(x0, alpha, sigma):
    return x0


def stops(x0, alpha, sigma, eps):
    y = x0 * alpha
    return y + undefined  # noqa: F821


def stub(x0, alpha, sigma, eps):
    raise NotImplementedError


def right(x0, alpha, sigma, eps):
    return alpha * x0 + sigma * eps


def remembers(x0, alpha, sigma, eps, calls=[]):  # noqa: B006
    calls.append(1)
    return right(x0, alpha, sigma, eps) + len(calls)


def scales_its_input(x0, alpha, sigma, eps):
    eps.mul_(sigma)
    return alpha * x0 + eps


GENERIC = {
    "nothing is returned": (returns_nothing, "type|say|value", "is a return missing"),
    "parameters": (too_few, "signature", "yours takes (x0, alpha, sigma)"),
    "exception": (stops, "raises", "stops at line"),
    "sign": (lambda *a: -right(*a), "pattern", "opposite sign"),
    "factor": (lambda *a: 2 * right(*a), "pattern", "same factor"),
    "offset": (lambda *a: right(*a) + 0.1, "pattern", "same amount"),
    "precision": (lambda *a: right(*a).half(), "dtype", "where is the precision lost"),
    "nan": (lambda *a: right(*a) / a[2], "nan", "division by zero"),
    "shape": (lambda *a: right(*a)[:2], "shape", "(3,) is needed"),
    "global noise": (lambda *a: torch.randn(3), "global noise", "global random state"),
    "numpy's noise": (lambda *a: right(*a) + np.random.rand(), "global noise", "global random state"),
    "memory": (remembers, "memory", "between calls"),
    "in place": (scales_its_input, "in place", "changes its input eps in place"),
    "no function": (7, "type", "the number 7"),
    "text": (lambda *a: "hi", "value", "'hi'"),
    "exit": (lambda *a: sys.exit(3), "raises", "SystemExit"),
    "only a value": (
        lambda x, a, s, e: right(x, a, s, e) * (1 + s * x),
        "value",
        "1 of the 2 things checked agree",
    ),
}


@pytest.mark.parametrize("case", GENERIC)
def test_unlisted_trouble_has_a_sentence(case):
    answer, kinds, words = GENERIC[case]
    verdict = judge("99.1", answer)
    assert verdict.state == "not yet" and verdict.kind in kinds.split("|"), verdict
    assert words in verdict.sentence
    assert "\n" not in verdict.sentence and len(verdict.sentence) < 300


def test_an_exception_is_told_with_the_students_own_line():
    line = stops.__code__.co_firstlineno + 2
    sentence = judge("99.1", stops).sentence
    assert f"stops at line {line} of its cell, `return y + undefined" in sentence
    assert "NameError: name 'undefined' is not defined" in sentence


@pytest.mark.parametrize(
    "answer", [stub, ..., NotImplemented], ids=["function", "ellipsis", "NotImplemented"]
)
def test_stubs_are_not_tried(answer):
    assert judge("99.1", answer).state == "not tried"


def test_the_reference_value_is_not_told():
    value = float(right(normal(0, 3), 1.0, 0.0, 0)[0])
    assert f"{value:.4f}"[1:] not in judge("99.1", GENERIC["only a value"][0]).sentence


def test_rounding_is_no_mistake():
    assert judge("99.1", lambda x, a, s, e: right(x, a, s, e) * (1 + 1e-9)).state == "done"
    assert judge("99.1", lambda *a: right(*a).numpy()).state == "done"


def test_global_random_states_stay_as_they_were():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), float(torch.rand(()))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    judge("99.1", lambda *a: torch.randn(3) + np.random.rand() + random.random())
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected


def test_in_place_changes_are_seen_in_generators_too():
    def walk(step, x, grid):
        yield x
        for _ in grid[1:]:
            x += 1
            yield x

    assert (
        "changes its input x in place"
        in judge("99.2", times=lambda n: [1 - i / n for i in range(n + 1)], walk=walk).sentence
    )


def test_what_an_answer_prints_is_shown_but_bounded(capsys):
    def chatty(*a):
        print("debug " * 10_000)
        return right(*a)

    check("99.1", chatty)
    out = capsys.readouterr().out
    assert out.startswith("debug") and len(out) < 4000 and out.endswith("99.1 done\n")


def test_the_check_prints_values_and_then_done(capsys):
    check("99.1", right)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "99.1 done" and len(lines) == 7
    assert all(line.startswith("99.1  ") for line in lines[:-1])
    check("99.2", times=lambda n: [1 - i / n for i in range(n + 1)], walk=_reference_walk())
    assert "times(4), rms" in capsys.readouterr().out


def _reference_walk():
    from book.lessons import registry

    return registry.find("99.2").reference["walk"]


def test_a_wrong_answer_prints_its_values_and_raises_one_sentence(capsys):
    with pytest.raises(NotYet, match="99.3 not yet. This is the variance") as caught:
        check("99.3", 0.64)
    assert "0.640" in capsys.readouterr().out
    assert caught.value._render_traceback_() == [str(caught.value)]
    with pytest.raises(NotTried):
        check("99.3", ...)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: check("99.77", 1), "there is no task 99.77; there are 99.1"),
        (lambda: check("two", 1), "ids look like"),
        (lambda: check("98.1", 1), "there is no lesson 98"),
        (lambda: check("99.1"), "takes one answer"),
        (lambda: check("99.2", 1), "takes times=..., walk=..."),
        (lambda: check("99.2", times=1), "takes times=..., walk=..."),
    ],
)
def test_a_check_called_wrongly_says_how(call, words):
    with pytest.raises(NoSuchTask) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize("answer", ["sqrt(a) + a*b", "sqrt(a)*(1 + sqrt(a)*b)"])
def test_a_formula_may_be_written_in_any_way(answer):
    import sympy

    a, b = sympy.symbols("a b", positive=True)
    assert judge("99.4", answer).state == "done"
    assert judge("99.4", sympy.sympify(answer, locals={"a": a, "b": b})).state == "done"


@pytest.mark.parametrize(
    "answer, words", [("a*b + k", "uses k"), ("a**", "a formula of sympy"), ("sqrt(-a)", "nan")]
)
def test_a_formula_that_does_not_fit_is_told(answer, words):
    verdict = judge("99.4", answer)
    assert verdict.state == "not yet" and words in verdict.sentence


def _axes():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    axes.semilogy([1, 2], [3, 4], label="DDIM")
    axes.scatter([0, 1], [1, 2], label="data")
    axes.set(xlabel=" steps ", ylabel="error", title="T")
    axes.legend()
    return axes


def test_a_figure_is_read():
    for drawn in (axes := _axes(), axes.figure, SimpleNamespace(fig=axes.figure), [axes]):
        seen = read_axes(drawn)
        assert (seen.xscale, seen.yscale, seen.xlabel, seen.title) == ("linear", "log", "steps", "T")
        assert seen.legend == ["DDIM", "data"] and seen.points["data"].shape == (2, 2)
        np.testing.assert_array_equal(seen.lines["DDIM"][1], [3, 4])
    assert axes_values(axes)["line 0, y"].tolist() == [3, 4]
    axes.errorbar([1, 2], [5, 6], yerr=0.1, label="with bars")
    np.testing.assert_array_equal(read_axes(axes).lines["with bars"][1], [5, 6])


def test_what_is_no_figure_is_told():
    from matplotlib.figure import Figure

    with pytest.raises(Remark, match="the number 3"):
        read_axes(3)
    with pytest.raises(Remark, match="your figure has 2"):
        read_axes(Figure().subplots(1, 2)[0].figure)
    with pytest.raises(Remark, match="no line labelled 'DDPM'; its lines are 'DDIM'"):
        axes_values(_axes(), {"DDPM": "the DDPM line"})


def test_a_question_of_the_author_replaces_the_generic_one():
    task = _task(asks={"value": "And at zero?"})
    assert diagnose(task, lambda x: x + 1).sentence == "And at zero?"


def test_another_form_within_the_looser_tolerance_is_done_with_a_remark():
    def probe(answer, seed):
        return {"order": 2.0 if abs(answer - 1) < 0.5 else 1.0, "value": answer}

    task = _task(probe=probe, reference=1.0, loose={"value": (0.1, "Another form.")})
    told = [diagnose(task, answer) for answer in (1.0, 1.1, 1.3, 3.0)]
    assert [verdict.state for verdict in told] == ["done", "done", "not yet", "not yet"]
    assert [verdict.sentence for verdict in told[:2]] == ["", "Another form."]
    assert told[0].values["value"] == told[1].values["value"] == "near the statement's"
    assert "value" in told[2].sentence and "order" in told[3].sentence


def test_the_students_number_stands_in_the_question():
    task = _task(asks={"value": "Yours moved by {value}: why?"})
    shown = observe(task, lambda x: x + 1, 0).values["value"].flat[0]
    assert diagnose(task, lambda x: x + 1).sentence == f"Yours moved by {shown:.4g}: why?"


def test_an_amount_between_logarithms_is_a_factor():
    task = _task(probe=lambda answer, seed: {"log10 of the errors": answer(normal(seed, 3).abs()).log10()})
    assert "the same factor" in diagnose(task, lambda x: 4 * task.reference(x)).sentence


def _errors(draw="plot", label="eta = 1", scale="log", change=lambda y: y):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    getattr(axes, draw)([4, 1, 2], [change(y) for y in (0.1, 0.4, 0.2)], label=label)
    axes.set(xscale=scale, yscale=scale)
    return read_axes(axes)


@pytest.mark.parametrize("draw", ["plot", "scatter"])
@pytest.mark.parametrize("label", ["eta = 1", "η = 1", "η=1", "Eta = 1"])
def test_errors_are_read_from_lines_and_points_in_the_order_of_the_steps(draw, label):
    x, y = error_lines(_errors(draw, label), "eta = 1")["eta = 1"]
    assert x.tolist() == [1, 2, 4] and y.tolist() == [0.4, 0.2, 0.1]


@pytest.mark.parametrize(
    "given, words",
    [
        (dict(scale="linear", change=np.log10), "value -0.3979, on a linear axis: if these are logarithms"),
        (dict(change=np.negative), "is the absolute value missing"),
        (dict(label="DDPM"), "no line labelled 'eta = 1'; its lines are 'DDPM'"),
    ],
)
def test_what_is_no_error_above_0_is_told(given, words):
    with pytest.raises(Remark, match=words):
        error_lines(_errors(**given), "eta = 1")


def test_a_listed_mistake_goes_before_the_generic_sentence():
    task = _task(
        mistakes=(Mistake(lambda x: x / 0, "Dividing by zero?"), Mistake(Made(lambda: lambda x: -x), "Sign?"))
    )
    assert diagnose(task, lambda x: x / 0).sentence == "Dividing by zero?"
    assert diagnose(task, lambda x: -x).sentence == "Sign?"
    assert "constant" not in diagnose(task, lambda x: -x).sentence


def test_values_of_one_seed_do_not_make_an_answer_right():
    verdict = diagnose(_task(), lambda x: normal(0, 3) * 2)
    assert verdict.state == "not yet"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"id": "3"}, "such as '2.3'"),
        ({"kind": "essay"}, "use one of"),
        ({"difficulty": 4}, "use 1, 2 or 3"),
        ({"points": 0}, "above 0"),
        ({"hints": ("a", "b")}, "exactly three"),
        ({"hints": ("a", "b", " ")}, "a hint is empty"),
        ({"hints": ("a", "b", "a")}, "two hints are the same"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match="task .*") as caught:
        _task(**change)
    assert words in str(caught.value)


def test_a_reference_that_stops_is_told_to_the_author():
    with pytest.raises(ValueError, match="reference itself stops"):
        diagnose(_task(reference=lambda x: x.nothing), lambda x: x)


def test_describe():
    assert describe(None).startswith("nothing")
    assert describe(torch.zeros(2, 1)) == "a tensor of shape (2, 1)"
    assert describe(np.array(0.5)) == "the number 0.5"
    assert describe([1, 2]) == "a list of 2"
    assert describe(stub) == "a function (stub)"


def test_observe_never_raises():
    task = _task()
    for answer in (None, 3, "x", lambda: 1, lambda x: 1 / 0, lambda x: object(), [1]):
        assert observe(task, answer, 0).values is None


def test_importing_the_lessons_is_light():
    import subprocess

    code = (
        "import sys, book.lessons, book.lessons.pytest_plugin;"
        "print([m for m in ('torch', 'numpy', 'nbformat', 'IPython') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def _task(**changes):
    fields = dict(
        id="98.1",
        title="Double",
        kind="implement-equation",
        difficulty=1,
        minutes=1,
        points=1,
        probe=lambda answer, seed: {"value": answer(normal(seed, 3))},
        reference=lambda x: 2 * x,
        mistakes=(),
        hints=("a", "b", "c"),
    )
    return Task(**{**fields, **changes})


def test_the_fixture_lesson_has_every_kind_of_answer():
    from book.lessons import registry

    assert list(registry.tasks("99")) == lesson_99.TASK_IDS


def _measured(**given):
    """The verdict on a task with a function and a number that is measured with it."""

    def double(x):
        return 2 * x

    task = Task(
        id="99.7",
        title="A function and a number",
        kind="number",
        difficulty=1,
        minutes=1,
        points=1,
        names=("double", "at_three"),
        probe=lambda answer, seed: {"double of a number": answer.double(normal(seed, 1))},
        facts=lambda answer, seed: right_numbers(answer, 1e-6, at_three=6.0),
        reference={"double": double, "at_three": 6.0},
        mistakes=(
            Mistake({"double": lambda x: 3 * x}, "Three times is not twice.", as_given=True),
            Mistake({"double": lambda x: x / 0}, "By what do you divide?"),
            Mistake({"double": lambda x: x}, "You give x back."),
            Mistake({"at_three": 5.0}, "Five is odd."),
            Mistake({"at_three": 18.849556}, "What has the circle to do with it?"),
        ),
        hints=("Think of it.", "Add x to itself.", "x and x again."),
    )
    return diagnose(task, {"double": double, "at_three": 6.0} | given)


def test_a_wrong_function_is_recognised_whatever_was_measured_with_it():
    for number in (6.0, 3.0, math.nan, -1):
        assert _measured(double=lambda x: x, at_three=number).sentence == "You give x back."
    assert _measured(at_three=5.0).sentence == "Five is odd."
    assert "at_three" in _measured(at_three=7.0).sentence
    assert _measured(double=lambda x: 5 * x, at_three=math.nan).sentence.startswith("What should double of")


def test_a_listing_with_numbers_measured_with_it_has_been_tried():
    assert _measured(double=lambda x: 3 * x).state == "not tried"
    tried = _measured(double=lambda x: 3 * x, at_three=9.0)
    assert (tried.state, tried.sentence) == ("not yet", "Three times is not twice.")


def test_a_number_that_is_written_down_with_three_digits_is_recognised():
    for number in (18.8, 18.85, 18.8496, 18.849556):
        assert _measured(at_three=number).sentence.startswith("What has the circle")
    for number in (19.0, 18.9, 18.86):
        assert not _measured(at_three=number).sentence.startswith("What has the circle")


# --- what is wrong in more than one way, or not at all ----------------------------------------------------


def test_a_mistake_beside_another_is_still_named():
    """Two answers, each wrong in its own way: the first one's mistake is said, not something generic."""
    right = {"mean": lambda x: 2 * x, "power": lambda x: x**2}
    mistakes = (
        Mistake({"mean": lambda x: x}, "Where is the factor?"),
        Mistake({"power": lambda x: x**3}, "Which power?"),
    )

    def probe(answer, seed):
        x = normal(seed, 3)
        return {"mean": answer.mean(x), "power": answer.power(x)}

    task = Task(
        id="99.9", title="t", kind="number", difficulty=1, minutes=1, points=1, mistakes=mistakes,
        hints=("a", "b", "c"), reference=right, names=("mean", "power"), probe=probe,
    )  # fmt: skip
    for mean, power, says in (
        (lambda x: x, lambda x: x**3, "Where is the factor?"),
        (lambda x: x, lambda x: x + 9, "Where is the factor?"),
        (lambda x: 2 * x, lambda x: x**3, "Which power?"),
    ):
        assert diagnose(task, {"mean": mean, "power": power}).sentence == says
    found = diagnose(task, {"mean": lambda x: x + 9, "power": lambda x: x**3})
    assert "mean" in found.sentence and found.kind != "mistake"  # what differs first has no name
    assert diagnose(task, right).state == "done"


def test_where_the_right_answer_stops_too_no_mistake_is_named(tmp_path, monkeypatch):
    def broken(*_):
        raise AttributeError("module 'torch' has no attribute 'tensor'")

    task = Task(
        id="99.9", title="t", kind="number", difficulty=1, minutes=1, points=1,
        mistakes=(Mistake(lambda x: broken(), "Not this one."),), hints=("a", "b", "c"),
        reference=lambda x: broken(), probe=lambda answer, seed: {"x": answer(seed)},
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found = diagnose(task, lambda x: broken())
    assert found.state == "not yet" and "no attribute 'tensor'" in found.sentence
    (tmp_path / "torch.py").touch()
    assert "your torch.py" in diagnose(task, lambda x: broken()).sentence


def test_only_the_hand_outs_own_error_is_the_stub():
    def undone(message):
        raise NotImplementedError(message)

    task = Task(
        id="99.9", title="t", kind="number", difficulty=1, minutes=1, points=1, mistakes=(),
        hints=("a", "b", "c"), reference=lambda x: 1.0, probe=lambda answer, seed: {"x": answer(seed)},
    )  # fmt: skip
    for message, state in (("99.1: your answer", "not tried"), ("softmax for 'Long'", "not yet")):
        assert diagnose(task, lambda x, message=message: undone(message)).state == state
