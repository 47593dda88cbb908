"""What INSTRUCTORS.md says of chapters, tasks and commands is what they are."""

import re
import shlex
from pathlib import Path

import pytest

from book.__main__ import make_app
from book.chapters import read, reading_minutes
from book.lessons.registry import find, lessons, tasks

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "INSTRUCTORS.md").read_text("utf8")


def rows(heading):
    """The rows of the first table under a heading, each as a list of its cells."""
    section = re.split(r"(?m)^#+ ", TEXT.partition(f" {heading}\n")[2])[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def listed(cell):
    """What a cell lists, apart by commas."""
    return [one for one in cell.split(", ") if one]


@pytest.mark.parametrize("plan", ["Six weeks", "Two weeks"])
def test_a_plan_adds_up(plan):
    *units, total = rows(plan)
    assert [unit[0] for unit in units] == [str(n) for n in range(1, len(units) + 1)]
    minutes = {
        path.stem[:2]: reading_minutes(read(path)) for path in (ROOT / "chapters").glob("[0-9][0-9]_*.ipynb")
    }
    for _, chapters, reading, set_, time, points in units:
        assert int(reading) == sum(minutes[one] for one in listed(chapters)), chapters
        chosen = [find(one) for one in listed(set_)]
        assert int(time) == sum(task.minutes for task in chosen), set_
        assert int(points) == sum(task.points for task in chosen), set_
    chosen = [one for unit in units for one in listed(unit[3])]
    assert len(set(chosen)) == len(chosen), "no task is set twice"
    assert [int(total[n]) for n in (2, 4, 5)] == [sum(int(unit[n]) for unit in units) for n in (2, 4, 5)]


def test_the_long_plan_has_a_bug_each_week():
    for *_, set_, _, _ in rows("Six weeks")[:-1]:
        assert any(find(one).kind == "find-the-bug" for one in listed(set_)), set_


def test_all_there_is():
    """Each lesson that the table names is as it says; it may stop short of the last one."""
    table = rows("All there is")
    assert [row[0] for row in table] == lessons()[: len(table)] and len(table) >= 8
    for lesson, count, minutes, points in table:
        there = tasks(lesson).values()
        assert int(count) == len(there), lesson
        assert int(minutes) == sum(task.minutes for task in there), lesson
        assert int(points) == sum(task.points for task in there), lesson


def test_the_tasks_that_students_get_stuck_on_are_there():
    named = [one for row in rows("What students get stuck on") for one in listed(row[2])]
    assert len(named) > 20 and all(find(one) for one in named)


def test_tasks_without_stochastic_calculus_are_there_and_named_once():
    (text,) = re.findall(r"(?s)\*\*A class without.*?\n\n", TEXT)
    named = re.findall(r"\b3\.\d+\b", text.partition("Set ")[2].partition("leave out ")[2])[:7]
    assert named == ["3.1", "3.2", "3.3", "3.9", "3.10", "3.11", "3.12"]
    kept = {find(f"3.{n}").id for n in range(4, 9)}
    assert kept | set(named) == set(tasks("03"))


def test_the_commands_are_as_written():
    import typer

    group = typer.main.get_command(make_app())
    commands = re.findall(r"(?m)^toolkit (.*)$", "\n".join(re.findall(r"(?s)```sh\n(.*?)```", TEXT)))
    commands += re.findall(r"`toolkit (slides [^`]*)`", TEXT)
    assert len(commands) >= 5
    for line in commands:
        name, *given = shlex.split(line)
        command = group.get_command(None, name)
        assert command is not None, line
        options = {text for parameter in command.params for text in parameter.opts}
        assert {text for text in given if text.startswith("-")} <= options, line


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists(), target
        if anchor:
            heads = re.findall(r"(?m)^#+ (.*)$", (ROOT / path).read_text("utf8"))
            assert anchor in {head.lower().replace(" ", "-") for head in heads}, target
