"""A lesson's probes apart from its answers: the same values, nothing that is right, new with each seed."""

import ast
import dataclasses
import functools
import itertools
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import book.lessons as offered
from book import folders
from book.grading import probe_source
from book.lessons import reach, registry
from book.lessons.diagnose import (
    DONE,
    SEEDS,
    diagnose,
    expected,
    full_answer,
    observe,
    same_value,
    same_values,
    verdict,
)
from book.lessons.task import Made, Task

pytestmark = pytest.mark.slow

LESSONS = folders.chapters("tasks.py")
TASKS = [task for lesson in LESSONS for task in registry.tasks(lesson).values()]
LARGE = (2**48, 123_456_789_012_345, 2**31 + 11)


def _id(value):
    return getattr(value, "id", None) or str(value)


@functools.cache
def _alone(task):
    """The task as its probe sees it; what is `expected` of it is found once for all tests."""
    return dataclasses.replace(task, facts=None) if task.facts and task.probe else task


def _made(answer):
    return answer.make() if isinstance(answer, Made) else answer


def _parts(task, answer):
    """The answers of a task, one by one."""
    return [_made(part) for part in (answer.values() if task.names else [answer])]


def _run(source, monkeypatch):
    """The module of a lesson's probes, as it is beside a student's code."""
    lessons = types.ModuleType("book.lessons")
    vars(lessons).update({name: getattr(offered, name) for name in probe_source.OFFERED})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "book.lessons", lessons)
        module = types.ModuleType("probes")
        exec(compile(source, "probes", "exec"), vars(module))
    return module


def _lesson(tmp_path, monkeypatch, tasks, name="97"):
    """A course's own lesson of this text."""
    (tmp_path / f"ch{name}").mkdir(exist_ok=True)
    (tmp_path / f"ch{name}" / "tasks.py").write_text(tasks, "utf8")
    monkeypatch.setenv("TOOLKIT_LESSONS", str(tmp_path))
    return name


# --- the book's lessons ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_probes_apart_give_the_values_of_the_tasks(lesson, monkeypatch):
    module = _run(probe_source.source(lesson), monkeypatch)
    assert list(module.PROBES) == list(registry.tasks(lesson))
    for task in registry.tasks(lesson).values():
        names, probe = module.PROBES[task.id]
        assert names == task.names and (probe is None) == (task.probe is None)
        if probe is None:
            continue
        for seed in (0, LARGE[0]):
            there = observe(dataclasses.replace(task, probe=probe, facts=None), task.reference, seed)
            here = expected(_alone(task), seed)
            assert there.values is not None and same_values(there.values, here.values, 0.0, nan_too=True)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_probes_apart_hold_nothing_of_what_is_right(lesson, monkeypatch):
    source = probe_source.source(lesson)
    tree = ast.parse(source)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    own = [part for part in tree.body if not isinstance(part, reach.IMPORTS)]
    defined = set().union(*map(reach.binds, own))
    assert not names & {"Task", "Mistake", "Made", "KINDS", "right_numbers", "right_words", "right_or_number"}
    module = registry.module(lesson)
    for task in registry.tasks(lesson).values():
        for answer in [task.reference, *(mistake.answer for mistake in task.mistakes)]:
            for part in _parts(task, full_answer(task, answer)):
                if getattr(part, "__module__", "") == module.__name__:
                    assert part.__qualname__.split(".")[0] not in defined
        for text in [*task.hints, *(mistake.says for mistake in task.mistakes), *task.asks.values()]:
            assert text not in source
        if task.facts and task.facts.__module__ == module.__name__:
            known = set(task.facts.__code__.co_names) & defined
            assert known == set(), f"{task.id}: facts and a probe both read {known}"


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_right_number_stands_in_the_probes_apart(lesson):
    tree = ast.parse(probe_source.source(lesson))
    there = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    for task in registry.tasks(lesson).values():
        for part in _parts(task, task.reference):
            if isinstance(part, (int, float)) and len(repr(part).strip("0")) > 3:
                assert part not in there, f"the answer {part} of {task.id}"


@pytest.mark.parametrize("task", [t for t in TASKS if any(map(callable, _parts(t, t.reference)))], ids=_id)
def test_what_a_function_gives_is_new_with_each_seed(task):
    """Else whoever prints the known values would pass."""
    assert task.probe
    seen = [list(expected(_alone(task), seed).values.values()) for seed in (*SEEDS, *LARGE)]
    assert any(
        not isinstance(row[0], str)
        and not any(itertools.starmap(_close(task), itertools.combinations(row, 2)))
        for row in zip(*seen, strict=True)
    )


def _close(task):
    return lambda a, b: same_value(a, b, task.tolerance)


@pytest.mark.parametrize("task", TASKS, ids=_id)
def test_the_labels_of_probe_and_facts_differ(task):
    if task.probe and task.facts:
        facts = observe(dataclasses.replace(task, probe=None), task.reference, 0)
        assert not expected(_alone(task), 0).values.keys() & facts.values.keys()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=_id)
def test_large_seeds_do_as_well(task):
    def look(seed, noise):
        return expected(task, seed) if noise == 1 else observe(task, task.reference, seed, noise)

    assert verdict(task, look, look(LARGE[0], 1), LARGE).state == DONE
    for mistake, seed in zip(task.mistakes, itertools.cycle(LARGE), strict=False):
        answer = full_answer(task, mistake.answer)
        seen, right = observe(task, answer, seed), expected(task, seed)
        if seen.values is not None and same_values(seen.values, right.values, task.tolerance):
            assert diagnose(task, answer, (seed,)).state != DONE, mistake.says


# --- a course's own lessons -----------------------------------------------------------------------------


def test_a_small_lesson_with_every_kind_of_answer(tmp_path, monkeypatch):
    fixture = Path(__file__).parents[1] / "lessons" / "fixtures" / "ch99" / "tasks.py"
    lesson = _lesson(tmp_path, monkeypatch, fixture.read_text("utf8"), "99")
    module = _run(probe_source.source(lesson), monkeypatch)
    assert {key: names for key, (names, _) in module.PROBES.items() if names} == {"99.2": ("times", "walk")}
    assert [key for key, (_, probe) in module.PROBES.items() if probe is None] == ["99.3", "99.5"]
    for task in registry.tasks(lesson).values():
        if task.probe:
            there = dataclasses.replace(task, probe=module.PROBES[task.id][1])
            assert same_values(observe(there, task.reference, 3).values, expected(task, 3).values, 0.0)


_TASK = (
    "T = Task(id='97.1', title='Own', kind='number', difficulty=1, minutes=1, points=1, mistakes=(),\n"
    "    hints=('abc', 'def', 'ghi'), {})\nTASKS = (T,)\n"
)
_HEAD = "from book.lessons import Task, normal, right_numbers\n"


def test_a_probe_alone_is_kept_apart(tmp_path, monkeypatch):
    text = _HEAD + _TASK.format("probe=lambda answer, seed: {'f': answer(normal(seed, 2))}")
    source = probe_source.source(_lesson(tmp_path, monkeypatch, text))
    ((names, probe),) = _run(source, monkeypatch).PROBES.values()
    assert names == () and np.array_equal(probe(lambda x: 2 * x, 5)["f"], 2 * offered.normal(5, 2))
    assert source.startswith("from book.lessons import normal\n")


def test_what_a_probe_reaches_is_kept_in_the_order_of_the_file(tmp_path, monkeypatch):
    text = (
        '"""Notes."""\nfrom __future__ import annotations\nimport math, os\nimport os.path as where\n'
        + _HEAD
        + "BASE = {'a': 2.0}\nBASE['b'] = 3.0\nx = 'a name that the probe has as its own'\nRIGHT = 116.0\n"
        "def tell(v):\n    'The secret is 116.'\n    return scale(v) * BASE['b']\n"
        "try:\n    FACTOR = math.pi\nexcept NameError:\n    FACTOR = 3\n"
        "class Scale:\n    'Only words.'\n"
        "def scale(x, made=Scale):\n    # a remark\n    return [x * FACTOR for FACTOR in [FACTOR]][0]\n"
        + _TASK.format(
            "probe=lambda answer, seed: {'f': tell(answer(seed))}, "
            "facts=lambda answer, seed: right_numbers(answer, 1, f=RIGHT), reference=lambda s: RIGHT"
        )
    )
    source = probe_source.source(_lesson(tmp_path, monkeypatch, text))
    kept = [
        "from __future__",
        "import math\n",
        "BASE = ",
        "BASE['b']",
        "def tell",
        "try:",
        "class Scale",
        "def sc",
    ]
    assert [source.index(part) for part in kept] == sorted(source.index(part) for part in kept)
    for secret in ("116", "RIGHT", "secret", "remark", "a name", "os", "normal", "Notes", "Only words"):
        assert secret not in source
    ((_, probe),) = _run(source, monkeypatch).PROBES.values()
    assert probe(lambda seed: 2.0, 0)["f"] == pytest.approx(6 * np.pi)


REFUSED = {
    "the probe of task 97.1 needs right, and so does the reference of task 97.1: .* belongs into facts": (
        "def right(x):\n    return x\ndef probe(a, s):\n    return {'f': a(s) - right(s)}\n",
        "probe=probe, reference=right",
    ),
    "the probe of task 97.1 needs right_numbers, which is not there beside a student's code: of book": (
        "def probe(a, s):\n    return right_numbers(a, 1, f=2)\n",
        "probe=probe",
    ),
    "the probe of task 97.1 needs Made, which is not there": (
        "def probe(a, s):\n    from book.lessons import Made\n    return {'f': 1}\n",
        "probe=probe",
    ),
    "the probe of task 97.1 needs book.ch02.tasks, which is not there": (
        "import book.ch02.tasks\ndef probe(a, s):\n    return {'f': book}\n",
        "probe=probe",
    ),
    "the probe of task 97.1 needs tasks_02, which is not there": (
        "from .tasks_02 import subsequence\n",
        "probe=lambda a, s: {'f': subsequence}",
    ),
    "the probe of task 97.1 needs book.lessons, which is not there": (
        "from book import lessons\n",
        "probe=lambda a, s: {'f': lessons}",
    ),
    "the probe of task 97.1 needs toolkit.lessons, which is not there": (
        "import toolkit.lessons\n",
        "probe=lambda a, s: {'f': toolkit.lessons}",
    ),
    "the probe of task 97.1 needs book.ch02.solution, which is not there": (
        "from book.ch02 import solution\ndef right(x):\n    return solution.walk(x)\n",
        "probe=lambda a, s: {'f': a(s) - right(s)}, reference=solution.walk",
    ),
    "the probe of task 97.1 needs changed, which is not there": (
        "from book.lessons import changed\n",
        "probe=lambda a, s: {'f': a(s), 'g': changed(a, ('+', '-'))(s)}, reference=len",
    ),
    "the probe of task 97.1 needs unknown, which its file does not define": (
        "from math import *\n",
        "probe=lambda a, s: {'f': unknown}",
    ),
    "does not give each of its fields by name, and its id as text": ("more = {}\n", "**more"),
    "tasks.py: make\\(\\) in TASKS is not written out as Task": (
        "def make():\n    pass\n",
        "probe=make)\nTASKS = (make(),)\nprint(",
    ),
    "tasks.py does not end with TASKS = ": ("", "probe=len)\nTASKS = tuple([])\nprint("),
    "tasks.py is not Python": ("def (", "probe=len"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_kept_apart_is_told(sentence, tmp_path, monkeypatch):
    before, fields = REFUSED[sentence]
    text = _HEAD + before + _TASK.format(fields)
    if fields.endswith("print("):  # its own TASKS is the one that counts
        text = text.replace("\nTASKS = (T,)", "")
    with pytest.raises(ValueError, match=sentence):
        probe_source.source(_lesson(tmp_path, monkeypatch, text))


def test_a_lesson_that_is_not_there_is_told():
    with pytest.raises(ValueError, match="there is no lesson 88"):
        probe_source.source("88")


# --- probe and facts together ---------------------------------------------------------------------------


def _two_parts(**changes):
    fields = dict(
        id="97.1",
        title="Two parts",
        kind="number",
        difficulty=1,
        minutes=1,
        points=1,
        names=("f", "n"),
        probe=lambda answer, seed: {"f": answer.f(offered.normal(seed, 2))},
        facts=lambda answer, seed: offered.right_numbers(answer, 1e-3, n=7.0),
        reference={"f": lambda x: 2 * x, "n": 7.0},
        mistakes=(),
        hints=("a", "b", "c"),
    )
    return Task(**{**fields, **changes})


def test_the_values_of_the_facts_follow_those_of_the_probe():
    verdict = diagnose(_two_parts(), {"f": lambda x: 2 * x, "n": 7.0001})
    assert verdict.state == DONE and list(verdict.values) == ["f", "n"] and verdict.values["n"] == "right"
    wrong = diagnose(_two_parts(), {"f": lambda x: 2 * x, "n": 8.0})
    assert wrong.state != DONE and wrong.sentence == "What should n be? Yours is the number 8."


def test_facts_alone_judge_and_say():
    task = _two_parts(probe=None)
    assert diagnose(task, {"f": len, "n": 7.0}).state == DONE
    assert diagnose(task, {"f": len, "n": "many"}).sentence == "n is one number; yours is a str."


def test_a_task_without_probe_and_facts_is_refused():
    with pytest.raises(ValueError, match="task 97.1: give a probe, facts, or both"):
        _two_parts(probe=None, facts=None)
