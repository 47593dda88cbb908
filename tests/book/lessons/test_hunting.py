"""Bug hunts and constants of one's own: what may be drawn, what a check says of what is left."""

import itertools
import random
import re
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from book.__main__ import make_app
from book.lessons import Mistake, Remark, Task, bugs, changed, diagnose, drawing, hunting, registry, varying
from book.lessons.checking import NoSuchTask, NotTried, NotYet, check

LESSONS = registry.lessons()
VARIED = [task for lesson in LESSONS for task in registry.tasks(lesson).values() if task.varies]


def twice(x):
    """2 x + 2."""
    moved = x + 1
    scaled = moved * 2
    return scaled


def _task():
    edits = [
        ("x + 1", "x - 1"),  # 0
        ("moved * 2", "moved * 2 + 4"),  # 1: cancels 0
        ("x + 1", "x + 3"),  # 2: overlaps 0; does what 1 does
        ("return scaled", "return 0 * scaled"),  # 3: hides all others
        ("moved * 2", "moved * 3"),  # 4
        ("return scaled", "return scaled / 0"),  # 5: stops
    ]
    return Task(
        id="98.1", title="Twice", kind="implement-equation", difficulty=1, minutes=1, points=1,
        probe=lambda answer, seed: {"at 0.5": answer(0.5), "at 3": answer(3.0)}, reference=twice,
        mistakes=tuple(Mistake(changed(twice, edit), f"Edit {edit}.") for edit in edits),
        hints=("a", "b", "c"),
    )  # fmt: skip


# --- what may be drawn ----------------------------------------------------------------------------------


def test_what_cancels_hides_overlaps_or_stops_is_never_drawn():
    found = bugs.find_combinations(_task())
    assert found.singles == ((0,), (1,), (2,), (3,), (4,))
    # 0 and 1 cancel; 0 and 2 are one place; 1 and 2 do the same; 3 hides every other; 1 and 4 are one place.
    assert found.pairs == ((0, 4), (2, 4)) and found.triples == ()


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_record_is_of_the_bugs_that_there_are(lesson):
    """Else: python -m studies.hunt_pairs LESSON."""
    for name, found in bugs.combinations(lesson).items():
        task = registry.tasks(lesson)[name]
        assert found.print == bugs.fingerprint(task), name
        assert {index for (index,) in found.singles} <= set(bugs.bugs(task)), name
        for many in (*found.pairs, *found.triples):
            assert all((index,) in found.singles for index in many), name


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_sample_of_the_record_run_again(lesson, seed):
    draw = random.Random(seed)
    slow = {"1.4", "1.11", "2.8", "2.11", "4.2", "4.3", "4.5", "4.7", "4.8", "5.10", "7.9"}
    known = {name: one for name, one in bugs.combinations(lesson).items() if name not in slow}
    for name in draw.sample(sorted(known), min(2, len(known))):
        task, found = registry.tasks(lesson)[name], known[name]

        def look(part, task=task):
            try:
                return bugs.behaviour(task, part)
            except ValueError:
                return None

        alone = [index for (index,) in found.singles]
        left_out = [(a, b) for a in alone for b in alone if a < b and (a, b) not in found.pairs]
        for many in draw.sample(found.pairs, min(1, len(found.pairs))):
            assert bugs.may_be_drawn(task, many, look), (name, many)
        for many in draw.sample(left_out, min(1, len(left_out))):
            assert not bugs.may_be_drawn(task, many, look), (name, many)


# --- draws and tickets ----------------------------------------------------------------------------------


def test_a_hunt_is_the_same_for_the_same_seed_and_its_ticket_makes_it_again(seed):
    for lesson in LESSONS:
        for letter in (False, True):
            made = hunting.draw(lesson, 1, drawing.public(seed), letter=letter)
            assert made == hunting.draw(lesson, 1, drawing.public(seed), letter=letter)
            assert hunting.Hunt.of(made.ticket) == made and bool(made.letter) == letter


def test_students_get_other_hunts_by_the_key_alone():
    def draws(key):
        return [
            hunting.draw("04", 2, drawing.of_student(key, f"student {n}"), "4.2").chosen for n in range(30)
        ]

    first, second = draws(b"k" * 32), draws(b"l" * 32)
    assert first == draws(b"k" * 32) and len(set(first)) > 20
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 5


@pytest.mark.parametrize("ticket", ["4.2", "4.2-", "4.2-aaaa", "4.2-ü", "4.99-mq3zc", "", "4.2-" + "a" * 400])
def test_what_is_no_ticket_is_refused_in_one_sentence(ticket):
    with pytest.raises(NoSuchTask):
        hunting.hunt(ticket, twice)


def test_what_cannot_be_drawn_is_refused():
    for lesson, count, task in (("00", 2, ""), ("04", 4, ""), ("04", 2, "4.10"), ("04", 2, "4.99")):
        with pytest.raises(ValueError, match=r"mistakes|no task"):
            hunting.draw(lesson, count, drawing.public(1), task)


# --- listings -------------------------------------------------------------------------------------------


def test_a_dressed_listing_does_the_same_and_keeps_its_parameters():
    text = (
        "def f(x, times):\n    'Doc.'\n    total, π_0 = 0, [t * x for t in times]\n"
        "    def inner(total_of):\n        return sum(total_of) + x\n"
        "    for s in π_0:\n        total += s\n    return total + inner(total_of=π_0)\n"
    )
    dressed, spaces = hunting.dressed(text, "k"), ({}, {})
    for source, space in zip((text, dressed), spaces, strict=True):
        exec(source, space)
    assert spaces[0]["f"](2.0, [1, 3]) == spaces[1]["f"](2.0, [1, 3])
    assert "total_k += s_k" in dressed and "def f(x, times)" in dressed and "inner(total_of=π_0_k)" in dressed
    assert hunting.dressed(text, "") == text
    held = "def f(x):\n    y = x\n    return f'{y}'\n"
    assert hunting.dressed(held, "k") == held


# --- the check ------------------------------------------------------------------------------------------


@pytest.fixture
def pair():
    """A hunt with two mistakes in task 2.2, and its one answer with some of them."""
    this = hunting.Hunt("2.2", bugs.combinations("02")["2.2"].pairs[0])
    task = registry.find("2.2")
    return SimpleNamespace(hunt=this, task=task, answer=lambda part: bugs.answer(task, part))


def test_the_check_counts_what_is_still_there_and_names_the_measurement(pair, capsys):
    first, second = pair.hunt.chosen
    with pytest.raises(NotTried, match="2 of 2 mistakes are still there"):
        hunting.hunt(pair.hunt.ticket, pair.answer(pair.hunt.chosen))
    for left in (first, second):
        capsys.readouterr()
        with pytest.raises(NotYet, match="1 of 2 mistakes is still there") as told:
            hunting.hunt(pair.hunt.ticket, pair.answer([left]))
        out = capsys.readouterr().out
        assert "not as it should be" in out and any(k in out for k in diagnose.expected(pair.task, 0).values)
        assert not any(one.says in out + str(told.value) for one in pair.task.mistakes)
        assert "line" not in str(told.value)
    # Right in another form: the same function behind a wrapper.
    hunting.hunt(pair.hunt.ticket, lambda *a, **k: pair.task.reference(*a, **k))
    out = capsys.readouterr().out
    assert "both mistakes are gone" in out
    assert all(pair.task.mistakes[index].says in out for index in pair.hunt.chosen)


def test_the_check_says_when_something_else_was_changed(pair):
    right = pair.task.reference
    with pytest.raises(NotYet, match="none of its mistakes does"):
        hunting.hunt(pair.hunt.ticket, lambda *a, **k: 1.01 * right(*a, **k))
    with pytest.raises(NotYet, match="ZeroDivisionError"):
        hunting.hunt(pair.hunt.ticket, lambda *a, **k: 1 / 0)
    with pytest.raises(NoSuchTask, match="takes its ticket"):
        hunting.hunt(pair.hunt.ticket, right, right)


def test_of_named_answers_the_functions_will_do():
    chosen = bugs.combinations("05")["5.6"].pairs[0]
    task = registry.find("5.6")
    answer = bugs.answer(task, chosen)
    functions = {name: answer[name] for name in ("levels_at", "shares")}
    with pytest.raises(NotTried, match="2 of 2"):
        hunting.hunt(hunting.Hunt("5.6", chosen).ticket, **functions)


def test_the_command_writes_a_notebook_that_can_be_made_again(tmp_path):
    run, app = CliRunner(), make_app()
    told = ["hunt", "02", "--bugs", "2", "--seed", "7", "--task", "2.2"]
    first = run.invoke(app, [*told, "-o", str(tmp_path)])
    path = tmp_path / "2-2_seed_7_bugs_2.ipynb"
    assert first.exit_code == 0 and f"{path}" in first.stdout and "def " in first.stdout
    before = path.read_bytes()
    assert b"hunt(" in before and b"2.2: your answer" not in before
    run.invoke(app, [*told, "-o", str(tmp_path)])
    assert path.read_bytes() == before
    answers = run.invoke(app, [*told, "--answers"]).stdout
    assert answers.count("2.2, mistake") == 2
    assert run.invoke(app, ["hunt", "00", "--bugs", "2", "-o", str(tmp_path)]).exit_code == 2
    assert run.invoke(app, [*told, "--student", "ada"]).exit_code == 2


# --- constants of one's own -----------------------------------------------------------------------------


def test_at_least_five_tasks_can_be_given_with_other_constants():
    assert len(VARIED) >= 5


@pytest.mark.parametrize("task", VARIED, ids=lambda task: task.id)
def test_a_task_with_other_constants_has_another_right_answer_and_the_same_mistakes(task, seed):
    constants = varying.draw(task, drawing.public(seed))
    other = varying.varied(task, constants)
    assert other is varying.varied(task, constants) and other is not task
    assert diagnose.diagnose(other, other.reference).state == "done"
    assert diagnose.diagnose(other, task.reference).state == "not yet"
    assert len(other.mistakes) == len(task.mistakes)
    for index, mistake in enumerate(other.mistakes):
        wrong = diagnose.full_answer(other, mistake.answer)
        found = diagnose.diagnose(other, wrong)
        assert (found.state, found.sentence) == ("not yet", mistake.says), index


@pytest.mark.parametrize("task", VARIED, ids=lambda task: task.id)
def test_the_words_of_other_constants_leave_none_of_the_books(task, seed):
    constants = varying.draw(task, drawing.public(seed))
    words = task.varies.words(**constants)
    other = varying.varied(task, constants)
    texts = [*other.hints, *other.asks.values(), *(one.says for one in other.mistakes)]
    assert all(old != new for old, new in words.items())
    number = lambda old: rf"(?<![\d.]){re.escape(old)}(?![\d.]*\d)"  # noqa: E731 - 0.1 is not in 0.15
    assert not any(re.search(number(old), text) for old in words for text in texts)
    for values in task.varies.choices.values():
        assert len(set(values)) == len(values) > 2


@pytest.mark.parametrize("task", VARIED, ids=lambda task: task.id)
def test_no_choice_of_constants_makes_a_wrong_number_right(task):
    """Of all choices: the book's own numbers, and each listed mistake's, are not right by the facts."""
    for values in itertools.product(*task.varies.choices.values()):
        other = varying.varied(task, dict(zip(task.varies.choices, values, strict=True)))

        def facts(answer, other=other):
            full = {**other.reference, **answer} if other.names else answer
            return _facts(other, SimpleNamespace(**full) if other.names else full)

        right = facts({} if other.names else other.reference)
        wrong = [task.reference, *(mistake.answer for mistake in other.mistakes)]
        for answer in wrong:
            numbers = answer.values() if isinstance(answer, dict) else [answer]
            if not any(map(callable, numbers)) or answer is task.reference:
                assert facts(answer) != right, (values, answer)


def _facts(task, answer):
    try:
        return task.facts(answer, 0)
    except Remark as told:
        return str(told)


def test_the_check_at_home_is_told_the_constants(capsys):
    task = registry.find("0.2")
    constants = {"lam": -0.6}
    right = 1 / (1 + np.exp(1.2))
    check("0.2", right, given=constants)
    assert "lambda = -0.6  right" in capsys.readouterr().out
    with pytest.raises(NotYet):
        check("0.2", right)
    with pytest.raises(NotYet):
        check("0.2", task.reference, given=constants)
    with pytest.raises(NoSuchTask, match="lam"):
        check("0.2", right, given={"lam": 0.123})
    with pytest.raises(NoSuchTask):
        check("0.1", twice, given=constants)
