"""Marks: full for every solution, none for what was not touched, the same as at home, and fair."""

import ast
import copy
import functools
import inspect
import json
import random
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from nbformat import NotebookNode

from book import folders
from book.grading import marking, messages, run
from book.grading.results import to_json
from book.lessons import diagnose, record, registry, running
from tests.book.grading import corpus, marking_lab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def warmup():
    with marking_lab.marker("00") as marker:
        yield marker


@pytest.fixture(scope="module", params=folders.chapters("tasks.py"))
def lesson(request, warmup):
    """A marker of each lesson, all of its tasks."""
    with nullcontext(warmup) if request.param == "00" else marking_lab.marker(request.param) as marker:
        yield marker


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(running, "_GRACE", 0.5)


# --- whole lessons --------------------------------------------------------------------------------------


def test_a_solution_gets_all_points(lesson):
    results = lesson.mark(marking_lab.solution(lesson.key.lesson.lesson))
    assert [result.score for result in results] == [cell.points for cell in lesson.key.lesson.cells]
    assert all(
        (result.state, result.sentence, result.notes, result.flags) == ("done", "", (), ())
        for result in results
    )


def test_an_untouched_exercise_gets_none(lesson):
    results = lesson.mark(marking_lab.exercise(lesson.key.lesson.lesson))
    assert [result.task for result in results] == [cell.task for cell in lesson.key.lesson.cells]
    for result in results:
        assert (result.state, result.score, result.notes, result.flags) == ("not tried", 0.0, (), ()), result
        assert result.sentence


def test_what_a_lesson_imports_is_there_before_its_first_cell(lesson):
    notebook = marking_lab.solution(lesson.key.lesson.lesson)
    lines = [
        ast.unparse(node)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    kernel = lesson.box.kernel()
    try:
        lines = ["import sys", "before = set(sys.modules)", *lines, "print(set(sys.modules) - before)"]
        ran = kernel.run("\n".join(lines), 60.0, marking.BUDGET)
    finally:
        kernel.close()
    assert ran.text.strip() == "set()"


DISPLAYED = """
class Drawn:
    def draw(self, *_, **__): print("drawn")
    _repr_png_ = _repr_html_ = _repr_mimebundle_ = draw
    def __repr__(self): return "not drawn"
display(Drawn())
Drawn()
import matplotlib.pyplot as plt
_, axes = plt.subplots()
axes.figure.savefig = axes.figure.canvas.print_figure = Drawn().draw
plt.show()
"""


def test_nothing_is_drawn_where_nobody_looks(warmup):
    with warmup.runner(marking_lab.solution("00")) as (runner, _):
        runner.run(runner.steps[0])
        ran = runner.kernel.run(DISPLAYED, 60.0, marking.BUDGET)
    assert (ran.ename, ran.text) == ("", "")


# --- as at home -----------------------------------------------------------------------------------------


def written(name, answer):
    """A listed mistake as a student would have written it down."""
    if not inspect.isfunction(answer):
        return f"{name} = {answer!r}"
    renamed = "" if answer.__name__ == name else f"\n\n{name} = {answer.__name__}\n"
    return inspect.getsource(answer) + renamed


@pytest.fixture(scope="module")
def third():
    """A marker of two tasks of lesson 03."""
    with marking_lab.marker("03", ("3.2", "3.3")) as marker:
        yield marker


@pytest.fixture(scope="module")
def second():
    """A marker of some tasks of lesson 02."""
    with marking_lab.marker("02", ("2.1", "2.3")) as marker:
        yield marker


def only(marker, task_id):
    """A marker of one of its tasks."""
    return marking.Marker(
        replace(marker.key, lesson=marking_lab.reduced(marker.key.lesson.lesson, (task_id,))),
        marker.base,
        marker.box,
    )


@pytest.mark.parametrize(
    ("task_id", "name"),
    [("0.1", "recover_x0"), ("0.2", "alpha_bar"), ("3.2", "family"), ("3.3", "ve_sample")],
)
def test_each_mistake_is_told_as_at_home(task_id, name, warmup, third):
    task = registry.find(task_id)
    marker = only(warmup if task.lesson == "00" else third, task_id)
    for number, mistake in enumerate(task.mistakes):
        notebook = marking_lab.solution(task.lesson)
        cell = next(c for c in notebook.cells if c.get("id") == f"answer-{task.slug}")
        cell.source = written(name, mistake.answer)
        (result,) = marker.mark(notebook)
        home = diagnose.diagnose(task, task.mistakes[number].answer)
        assert (result.state, result.sentence, result.mistake) == (
            home.state,
            home.sentence,
            home.mistake,
        )
        assert result.mistake == number and result.score == 0
        assert result.kind == ("as given" if mistake.as_given else "mistake")
        assert all(row.kind and row.yours for row in result.rows)


OTHERS = {
    "raises": "def recover_x0(x_t, eps, alpha, sigma):\n    return x_t / 0 + None",
    "signature": "def recover_x0(x_t, eps):\n    return x_t",
    "nothing": "def recover_x0(x_t, eps, alpha, sigma):\n    x_t / alpha",
    "shape": "def recover_x0(x_t, eps, alpha, sigma):\n    return x_t[0]",
    "not finite": "def recover_x0(x_t, eps, alpha, sigma):\n    return x_t / 0",
    "in place": "def recover_x0(x_t, eps, alpha, sigma):\n    x_t -= sigma * eps\n    return x_t / alpha",
    "random": "import torch\ndef recover_x0(x_t, eps, alpha, sigma):\n    return x_t + torch.randn(3)",
    "memory": "n = [0]\ndef recover_x0(x_t, eps, alpha, sigma):\n    n[0] += 1\n    return x_t + n[0]",
    "a number": "recover_x0 = 5",
    "text": "recover_x0 = 'x_t'",
    "called": "recover_x0 = max(3, 4)",
    "precision": "def recover_x0(x_t, eps, alpha, sigma):\n    return ((x_t - sigma * eps) / alpha).float()",
    "sign": "def recover_x0(x_t, eps, alpha, sigma):\n    return (sigma * eps - x_t) / alpha",
    "factor": "def recover_x0(x_t, eps, alpha, sigma):\n    return 2 * (x_t - sigma * eps) / alpha",
    "a stub": "recover_x0 = ...",
    "still to do": "def recover_x0(x_t, eps, alpha, sigma):\n    raise NotImplementedError",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_answers_are_told_as_at_home(name, warmup):
    space = {}
    exec(OTHERS[name], space)
    home = diagnose.diagnose(registry.find("0.1"), space["recover_x0"])
    result = warmup.mark(solved(OTHERS[name]))[0]
    assert (result.state, result.score) == (home.state, 0 if home.state != "done" else 1)
    # At home the code of this test is no cell, so its line is not quoted.
    assert result.sentence == home.sentence or name == "raises" and "x_t / 0 + None" in result.sentence


def solved(answer="", *cells):
    """The solution of the warm-up with this answer to 0.1, and cells before it."""
    notebook = marking_lab.solution("00")
    place = next(n for n, cell in enumerate(notebook.cells) if cell.get("id") == "answer-0-1")
    if answer:
        notebook.cells[place].source = answer
    notebook.cells[place:place] = [
        NotebookNode(cell_type="code", source=source, metadata=NotebookNode(), id=f"own-{n}")
        for n, source in enumerate(cells)
    ]
    return notebook


# --- fair -----------------------------------------------------------------------------------------------


SOME = ["", corpus.WRONG, corpus._replay(), OTHERS["memory"], OTHERS["raises"], OTHERS["sign"]]


def told(marker, notebook):
    return json.dumps([vars(result) for result in marker.mark(notebook)], default=vars, sort_keys=True)


def test_results_do_not_hang_on_the_secret(warmup):
    for secret in (b"one", b"two"):
        key = marking.make_key(warmup.key.lesson, warmup.base, warmup.box, secret)
        other = marking.Marker(key, warmup.base, warmup.box)
        assert key.seeds("0.1") != warmup.key.seeds("0.1")
        for answer in SOME:
            assert told(other, solved(answer)) == told(warmup, solved(answer)), answer


def test_marks_do_not_depend_on_who_came_before(warmup):
    alone = [told(warmup, solved(answer)) for answer in SOME]
    order = random.Random(5).sample(range(len(SOME)), len(SOME))
    vandal = "import os, book.grading.messages as w\nw.pack = None\nopen('json.py', 'w').write('1/0')"
    for n in order:
        warmup.mark(solved("", vandal, "import builtins; builtins.sum = builtins.float = None"))
        assert told(warmup, solved(SOME[n])) == alone[n]


def test_neither_secret_nor_seeds_are_told(warmup):
    seeds = {f"{seed}" for task in ("0.1", "0.2") for seed in warmup.key.seeds(task)}
    assert len(seeds) == 4
    for answer in SOME:
        text = told(warmup, solved(answer))
        assert not any(seed in text for seed in seeds)
    # Even of one that reads its seeds and says them aloud nothing tells the secret itself.
    spy = "kept = []\nget_ipython().events.register('pre_run_cell', lambda info: kept.append(info.raw_cell))"
    text = told(warmup, solved("def recover_x0(*a):\n    raise ValueError(kept[-1])", spy))
    assert "seeds=" in text
    secret = marking_lab.SECRET
    assert not any(part in text for part in (secret.decode(), secret.hex(), repr(secret)))


@pytest.mark.parametrize("task_id", ["0.1", "1.1", "1.2", "2.1", "2.2"])
def test_no_listed_mistake_is_right_for_any_seeds(task_id):
    task = registry.find(task_id)
    for secret in range(15):
        key = marking.AnswerKey(record.load(task.lesson), b"%d" % secret)
        for mistake in task.mistakes:
            answer = diagnose.full_answer(task, mistake.answer)
            differs = [
                not diagnose.right(task, diagnose.observe(task, answer, seed), diagnose.expected(task, seed))
                for seed in key.seeds(task_id)
            ]
            assert any(differs), (task_id, secret, mistake.says)


# --- what arrives may be anything -----------------------------------------------------------------------

WEIRD = [
    None, True, 0, -1, 10**400, 1e308, float("nan"), float("inf"), "", "x" * 5000, "\ud800\x00", [], {}, [[]],
    {"shape": [2, 3], "values": "AAA="}, {"shape": [-1], "values": ""}, {"shape": [9**9] * 9, "values": None},
    {"shape": "33", "values": "abc"}, {"shape": [1], "values": [None]}, {"shape": [0, 5], "values": ""},
    {"shape": [0, 10**9], "values": ""}, {"shape": [0, 10**18], "values": None}, {"shape": [1] * 40_000},
    {"is": "stub"}, {"is": "function", "name": 5}, {"is": "axes"}, {"is": "list", "parts": [1]},
    {"is": "other", "name": "\x00"}, {"is": "int", "value": "1e5"}, {"is": "float", "value": [1]},
    functools.reduce(lambda inner, _: {"is": "list", "parts": [inner]}, range(200), {"is": "none"}),
    functools.reduce(lambda inner, _: [inner], range(400), 1),
]  # fmt: skip


def damaged(what, rng):
    """A copy with one of its parts, however deep, replaced or left out."""
    whole = copy.deepcopy(what)
    part, parts = whole, []
    while isinstance(part, (dict, list)) and part:
        keys = list(part) if isinstance(part, dict) else range(len(part))
        parts.append((part, rng.choice(list(keys))))
        part = part[parts[-1][1]]
    inside, key = rng.choice(parts)
    if isinstance(inside, dict) and rng.random() < 0.2:
        del inside[key]
    else:
        inside[key] = rng.choice(WEIRD)
    return whole


def shifted(what):
    """A copy with 1 added to every number of an array, and to every number that is an answer."""
    if isinstance(what, list):
        return [shifted(part) for part in what]
    if not isinstance(what, dict):
        return what
    if "shape" in what:
        return messages._numbers(messages._back(what) + 1)
    again = {key: shifted(value) for key, value in what.items()}
    return again | ({"value": what["value"] + 1} if what.get("is") == "float" else {})


@pytest.mark.parametrize("task_id", ["0.1", "0.2", "2.1", "2.3"])
def test_no_message_stops_the_grader_or_earns_anything(task_id, warmup, second):
    marker = warmup if task_id.startswith("0") else second
    rng, cell, right = random.Random(3), marker.key.lesson.cell(task_id), marker.key.seen[task_id]
    wrong = shifted(right)
    assert marker.judge(cell, right, lambda _: right).score == cell.points
    scores = []
    for _ in range(250):
        for honest in (right, wrong):
            told = damaged(honest, rng) | {"orders": right["orders"]}
            text = json.dumps(told)
            public = damaged(honest, rng) | {"orders": marking._PUBLIC}
            again = told if rng.random() < 0.5 else damaged(honest, rng) | {"orders": right["orders"]}
            more = [again, public]
            result = marker.judge(
                cell, json.loads(text), lambda orders, m=more: m[orders == marking._PUBLIC]
            )
            noted = marking._noted(result, registry.find(task_id), _Nothing, told, right)
            json.dumps(to_json(_graded(noted)), ensure_ascii=False).encode("utf8")
            assert len(json.dumps(vars(noted), default=vars)) < 50_000
            assert noted.state != "done" or honest is right
            scores.append(noted.score)
    assert 0.0 in scores


class _Nothing:
    notes = imported = named = {}


def _graded(result):
    from book.grading.results import Graded, Student

    return Graded(Student("a"), "00", "00.ipynb", (result,))


@pytest.mark.parametrize(
    "text",
    ["[1]", "{", "null", '{"token": 5}', "[" * 10**5, '{"token": "t", "task": "0.1"}' + " " * 5_000_000],
)
def test_messages_that_are_none_are_passed_over(text):
    honest = json.dumps({"token": "t", "task": "0.1", "seen": 1})
    ran = running.Ran(sent=[text, honest])
    assert marking._sent(ran, "t", "0.1", []) == json.loads(honest) | {"orders": []}


# --- time -----------------------------------------------------------------------------------------------


def test_a_submission_has_its_time_and_no_more(warmup):
    hurried = marking.Marker(replace(warmup.key, deadline=0.5, total=1.5), warmup.base, warmup.box)
    wait = "import time; time.sleep(99)"
    first, second = hurried.mark(solved("", *[wait] * 300))  # cells of its own are left out first
    assert (first.score, second.score) == (1, 1)
    assert [result.flags for result in (first, second)] == [(marking._LATE,)] * 2
    late = replace(warmup.key, deadline=30.0, total=0.01)
    first, second = marking.Marker(late, warmup.base, warmup.box).mark(solved(f"{wait[:-3]}0.1)"))
    words = "was not run: the cells before it took more than 0 s together."
    assert first.score == 0 and second.score == 0 and words in second.sentence


def test_what_the_grader_itself_does_with_a_submission_is_bounded(monkeypatch):
    with pytest.raises(run.TooMuch, match="0.2 s"), run.bounded(0.2, 2**32):
        while True:
            pass
    with pytest.raises(MemoryError), run.bounded(60, 2**28):
        bytearray(2**30)
    bytearray(2**30)  # and afterwards it has its room again


def test_cells_that_end_every_kernel_end_only_themselves(warmup):
    first, second = warmup.mark(solved("", *["import os; os._exit(0)"] * 4))
    assert (first.score, second.score) == (1, 1)


def test_an_answer_that_hangs_for_other_inputs_is_said(warmup):
    from book.lessons.probes import normal

    number = normal(1, 2, 3)[0, 0].item()
    hang = "import time\ndef recover_x0(x_t, eps, alpha, sigma):\n"
    hang += f"    while x_t[0, 0] == {number!r}: time.sleep(0.01)\n    return x_t"
    first, second = marking_lab.hurried(warmup, 4.0).mark(solved(hang))
    assert first.sentence.startswith("The check was still running after 4 s") and second.score == 1


def test_a_solution_that_is_wrong_marks_nobody(warmup):
    for answer, words in (
        (corpus.WRONG, "The solution of task 0.1 does not pass"),
        ("1 / 0", "Cell answer-0-1 of the solution ZeroDivisionError"),
        ("recover_x = 1", "The solution of task 0.1 does not run: recover_x0 is not defined"),
    ):
        with pytest.raises(marking.NoKey, match=words):
            marking.make_key(warmup.key.lesson, solved(answer), warmup.box, b"x")


# --- what is sent, and who is suspected -----------------------------------------------------------------


@pytest.mark.parametrize("values", [[], [[0.1, float("nan")], [-0.0, float("inf")]], 5e-324, [[]] * 3])
def test_numbers_arrive_to_the_last_bit(values):
    there = messages._back(json.loads(json.dumps(messages._numbers(values))))
    assert there.tobytes() == np.asarray(values, float).tobytes()
    assert there.shape == np.asarray(values, float).shape


def test_of_what_is_too_long_the_shapes_arrive():
    told = {"a": messages._numbers(np.ones((300, 300))), "b": messages._numbers([5.0])}
    values = messages.shapes_only(json.loads(json.dumps({"seen": [{"values": told}]})))["seen"][0]["values"]
    assert messages._back(values["a"]).shape == (300, 300) and messages._back(values["b"]) == 5


@pytest.mark.parametrize(
    ("task_id", "name", "flagged"),
    [
        ("1.4", "toolkit.ddpm.posterior", False),
        ("1.4", "toolkit.ddpm.ddpm", True),
        ("1.8", "toolkit.ddpm.posterior", False),
        ("1.6", "toolkit.schedules.Discrete.cosine", True),
        ("1.2", "toolkit.schedules.Discrete.cosine", False),
        ("4.2", "toolkit.exponential.phi", False),
        ("4.3", "toolkit.exponential.phi", False),
        ("4.1", "toolkit.exponential.phi", True),
    ],
)
def test_what_a_tasks_text_allows_is_no_suspicion(task_id, name, flagged):
    lesson = record.load(registry.find(task_id).lesson)
    asked = marking.Marker(marking.AnswerKey(lesson, b"x"), None, None)._asked(task_id)
    result = marking.TaskResult(task_id, "", 1)
    noted = marking._noted(result, asked, _Nothing, {"called": [name], "inside": [name]}, {})
    assert bool(noted.flags) == flagged
