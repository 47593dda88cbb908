"""Exercises are built from solutions: the same bytes each time; what does not fit is refused."""

import json

import nbformat
import pytest

from book.lessons import building, record
from book.lessons.building import BuildError, build, regions, stub
from tests.book.lessons import lesson_99

pytestmark = pytest.mark.slow


@pytest.fixture
def exercise(lesson99):
    return nbformat.read(lesson99.exercise, as_version=4)


def by_id(notebook):
    return {cell["id"]: cell for cell in notebook.cells}


def test_building_again_gives_the_same_bytes(lesson99):
    again = build(lesson99.solution)
    assert again == lesson99.files
    assert {path: path.read_text("utf8") for path in again} == again


def test_solutions_become_stubs(exercise):
    cells = by_id(exercise)
    assert cells["answer-99-1"].source == (
        'def forward(x0, alpha, sigma, eps):\n    """One jump."""\n'
        '    raise NotImplementedError("99.1: your answer")'
    )
    assert cells["answer-99-3"].source == "sigma = ...  # your answer"
    assert "return x.sum(0) / x.shape[1]" in cells["answer-99-6"].source
    assert "SOLUTION" not in json.dumps(exercise)
    assert "answer-99-2" in cells and "answer-99-2-2" in cells


def test_an_exercise_shows_no_output_and_the_solution_what_its_checks_print(exercise, lesson99):
    code = [cell for cell in exercise.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    solution = by_id(nbformat.read(lesson99.solution, as_version=4))
    for task in lesson_99.TASK_IDS:
        name = f"check-{task.replace('.', '-')}"
        (output,) = solution[name].outputs
        assert output.text == record.load("99").cell(task).output and output.text.endswith(f"{task} done\n")
        assert by_id(exercise)[name].metadata["editable"] is False
        assert by_id(exercise)[name].metadata["deletable"] is False


def test_check_cells_of_an_exercise_hold_no_marker(exercise, lesson99):
    solution = by_id(nbformat.read(lesson99.solution, as_version=4))
    for task in lesson_99.TASK_IDS:
        name = f"check-{task.replace('.', '-')}"
        assert solution[name].source == f"{building.CHECK}\n{by_id(exercise)[name].source}"


def test_markdown_of_the_solution_stays_there(lesson99, tmp_path):
    path = lesson_99.write(tmp_path / "solutions" / "99_small.ipynb")
    raw = json.loads(path.read_text("utf8"))
    place = next(i for i, cell in enumerate(raw["cells"]) if cell["id"] == "a1")
    note = nbformat.v4.new_markdown_cell("A derivation.", id="why", metadata={"tags": ["solution-only"]})
    raw["cells"].insert(place, note)
    path.write_text(json.dumps(raw), "utf8")
    files = build(path)
    exercise = tmp_path / "exercises" / "99_small.ipynb"
    assert "A derivation." in files[path] and files[exercise] == lesson99.files[lesson99.exercise]
    raw["cells"][place] = nbformat.v4.new_code_cell("x = 1", id="why", metadata=note.metadata)
    path.write_text(json.dumps(raw), "utf8")
    with pytest.raises(BuildError, match="cell why: the tag 'solution-only' is for Markdown"):
        build(path)


def test_statements_get_title_difficulty_and_minutes_once(exercise, lesson99):
    text = by_id(exercise)["task-99-2"].source
    line = "*Difficulty ●●○ (2 of 3), about 10 minutes, 2 points.*"
    assert text.startswith(f"### 99.2 A sampler's loop\n\n{line}\n\nWrite the loop.")
    solution = nbformat.read(lesson99.solution, as_version=4)
    assert by_id(solution)["task-99-2"].source == text


def test_hints_are_folded_after_each_check(exercise):
    ids = [cell["id"] for cell in exercise.cells]
    text = by_id(exercise)["hints-99-3"].source
    assert ids[ids.index("hints-99-3") - 1] == "check-99-3"
    assert text.count("<details>") == text.count("</details>") == 3 and "alpha² + sigma² = 1" in text


def test_cells_carry_nbgraders_metadata(exercise):
    graded = {c["id"]: c.metadata["nbgrader"] for c in exercise.cells if "nbgrader" in c.metadata}
    assert graded["check-99-2"] == {
        "schema_version": 3,
        "grade_id": "check-99-2",
        "grade": True,
        "solution": False,
        "locked": True,
        "task": False,
        "points": 2,
    }
    assert graded["answer-99-2"]["solution"] and "points" not in graded["answer-99-2"]
    assert all(note["grade_id"] == cell_id for cell_id, note in graded.items())
    assert exercise.metadata["toolkit"] == {"lesson": "99"}


def test_the_record_knows_the_lesson(lesson99):
    lesson = record.load("99")
    assert [cell.task for cell in lesson.cells] == lesson_99.TASK_IDS
    assert lesson.notebook == "99_small.ipynb" and len(lesson.hints["99.1"]) == 3
    assert record.compare(lesson.cells[0], lesson.cells[0].output) == ""


def test_outputs_are_compared_by_label_and_within_the_tolerance(lesson99):
    cell = record.load("99").cell("99.1")
    text = cell.output
    last_digit = text.replace("0.162508", "0.162509")
    assert last_digit != text and record.compare(cell, "noise\n" + last_digit + "more noise") == ""
    assert "another value" in record.compare(cell, text.replace("0.162508", "0.162600"))
    assert "does not print" in record.compare(cell, "\n".join(text.splitlines()[1:]))
    assert "without its last line" in record.compare(cell, text.replace("99.1 done", ""))
    assert "another value" in record.compare(cell, text.replace("0.162508", "nan"))


def test_numbers_of_another_machine_do_not_change_the_files(lesson99):
    lesson = record.load("99")
    cell = lesson.cell("99.1")
    near, far = (cell.output.replace("0.162508", number) for number in ("0.162509", "0.262508"))
    assert building._with_output(cell, near, lesson).output == cell.output
    assert building._with_output(cell, far, lesson).output == far
    assert building._with_output(cell, near, None).output == near
    assert building._with_output(cell, "debug\n" + near, None).output == near


def change(**sources):
    return [(i, sources.get(i, s)) for i, s in lesson_99.CELLS if sources.get(i, s) is not None]


CHECK_3 = lesson_99.CHECK + 'check("99.3", sigma)'
REFUSED = {
    "no check": (change(c6=None, a6=None), "no check cell for task 99.6"),
    "no statement": (change(s3=None), "has the line '### 99.3'"),
    "no solution": (change(a3="sigma = 0.8"), "belongs to the check of 99.3"),
    "solution without a check": (change(c6=None), "no check follows"),
    "marker with text": (change(c3=CHECK_3.replace("OUTPUT", "OUTPUT here")), "is not understood"),
    "no marker": (change(c3='check("99.3", sigma)'), "needs both the line"),
    "marker without a check": (change(a3="# NBVAL_CHECK_OUTPUT\nprint(1)"), "needs both the line"),
    "another marker": (change(setup="# NBVAL_SKIP\nimport math"), "is not understood"),
    "more than a check": (
        change(c3=CHECK_3.replace("check(", "x = 1\ncheck(")),
        "holds imports and one call",
    ),
    "unknown task": (change(c3=CHECK_3.replace("99.3", "99.33")), "there is no task '99.33'"),
    "two checks": (change(c4=CHECK_3), "two checks of 99.3"),
    "wrong names": (change(c2=lesson_99.CHECK + 'check("99.2", walk=walk)'), "times=..., walk=..."),
    "begin with text": (
        change(a3="### BEGIN SOLUTION now\nsigma = 1\n### END SOLUTION"),
        "alone on its line",
    ),
    "begin without end": (change(a3="### BEGIN SOLUTION\nsigma = 1"), "has no '### END SOLUTION'"),
    "end without begin": (change(a3="sigma = 1\n### END SOLUTION"), "stands where it does not belong"),
    "function in the region": (
        change(a3="### BEGIN SOLUTION\ndef f():\n    pass\n### END SOLUTION"),
        "put the markers inside the function",
    ),
    "nothing assigned": (change(a3="### BEGIN SOLUTION\nprint(1)\n### END SOLUTION"), "assigns its answer"),
    "instead is no comment": (
        change(a3="### BEGIN SOLUTION\nsigma = 1\n### INSTEAD\nsigma = 2\n### END SOLUTION"),
        "every line is a comment",
    ),
    "two ids": (None, "two cells with the id a3"),
    "taken id": ([("check-99-3", "x = 1"), *lesson_99.CELLS], "the id check-99-3 is taken"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(lesson99, tmp_path, case):
    cells, words = REFUSED[case]
    path = lesson_99.write(tmp_path / "solutions" / "99_small.ipynb", cells or lesson_99.CELLS)
    if cells is None:
        path.write_text(path.read_text("utf8").replace('"a4"', '"a3"'), "utf8")
    with pytest.raises(BuildError) as caught:
        build(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sources, words",
    [
        ({"a3": "### BEGIN SOLUTION\nsigma = 0.64\n### END SOLUTION"}, "99.3 not yet. This is the variance."),
        ({"setup": "import math\nmath.nothing"}, "code cell 1 stopped with AttributeError"),
    ],
)
def test_a_solution_that_does_not_pass_is_refused(lesson99, tmp_path, sources, words):
    path = lesson_99.write(tmp_path / "solutions" / "99_small.ipynb", change(**sources))
    with pytest.raises(BuildError, match=words):
        build(path)


def test_a_hint_that_quotes_the_solution_is_refused(lesson99, tmp_path):
    quoting = "### BEGIN SOLUTION\nsigma = alpha² + sigma² = 1.\n### END SOLUTION"  # hint 2 of 99.3 says this
    path = lesson_99.write(tmp_path / "solutions" / "99_small.ipynb", change(a3=quoting))
    with pytest.raises(BuildError, match="hint 2 of task 99.3 quotes the solution"):
        build(path)


def test_a_file_name_that_tells_another_lesson_is_refused(lesson99, tmp_path):
    path = tmp_path / "98_small.ipynb"
    path.write_text(lesson99.solution.read_text("utf8"), "utf8")
    with pytest.raises(BuildError, match="name the file 99_something"):
        build(path)


def test_regions_know_solution_and_replacement():
    body = ["### BEGIN SOLUTION", "return x", "### INSTEAD", "# return -x", "### END SOLUTION"]
    source = "\n    ".join(["def f(x):", *body])
    (region,) = regions(source)
    assert region.solution == ("    return x",) and region.instead == ("    return -x",)


def test_names_assigned_in_a_region_become_stubs(lesson99):
    from book.lessons import registry

    source = "### BEGIN SOLUTION\na, b = 1, 2\nc: int = 3\nprint(a)\na = 4\n### END SOLUTION\nx = 1"
    lines = stub(source, registry.find("99.3")).splitlines()
    assert lines == [f"{name} = ...  # your answer" for name in "abc"] + ["x = 1"]


OWN_TASKS = """
from book.ch97 import solution
from book.lessons import Mistake, Task, changed, normal

TASKS = (
    Task(
        id="97.1", title="Own", kind="number", difficulty=1, minutes=1, points=1,
        probe=lambda answer, seed: {"f": answer.f(normal(seed, 2)), "g": answer.g(2.0)},
        names=("f", "g"), reference={"f": solution.f, "g": solution.g},
        mistakes=(Mistake({"g": changed(solution.g, ("SCALE * x", "x"))}, "Where is the scale?"),),
        hints=("abc", "def", "ghi"),
    ),
)
"""


@pytest.fixture
def own_lesson(tmp_path, monkeypatch):
    """write(body of g) -> the path of a solution notebook of a lesson 97 that nothing was built of yet."""
    monkeypatch.setenv("TOOLKIT_LESSONS", str(tmp_path / "lessons"))
    (tmp_path / "lessons" / "ch97").mkdir(parents=True)
    (tmp_path / "lessons" / "ch97" / "tasks.py").write_text(OWN_TASKS)

    def write(g):
        body = "    ### BEGIN SOLUTION\n    {}\n    ### END SOLUTION\n"
        cells = [
            ("s", "### 97.1"),
            ("a", f"SCALE = 3\n\ndef g(x):\n{body.format(g)}\ndef f(x):\n{body.format('return g(x) / 2')}"),
            ("c", lesson_99.CHECK + "check('97.1', f=f, g=g)"),
        ]
        notebook = lesson_99.notebook(cells)
        notebook.cells[0] = nbformat.v4.new_markdown_cell("### 97.1")
        path = tmp_path / "solutions" / "97_own.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return write


def test_a_new_and_a_changed_solution_are_built_at_once(own_lesson, tmp_path):
    from book.lessons import judge, registry

    answers = tmp_path / "lessons" / "ch97" / "solution.py"
    for body, g in (
        ("return SCALE * x + 1", lambda x: 3 * x + 1),
        ("return SCALE * x - 1", lambda x: 3 * x - 1),
    ):
        files = build(own_lesson(body))
        assert body in files[answers]
        assert not answers.is_file() or body not in answers.read_text("utf8"), (
            "the build itself writes nothing"
        )
        for path, text in files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf8")
        assert build(own_lesson(body)) == files
        assert judge("97.1", f=lambda x, g=g: g(x) / 2, g=g).state == "done"
        wrong = registry.find("97.1").mistakes[0].answer["g"]
        assert judge("97.1", f=lambda x, g=wrong: g(x) / 2, g=wrong).sentence == "Where is the scale?"


def test_a_solution_that_the_tasks_do_not_fit_is_refused(own_lesson):
    with pytest.raises(BuildError, match="'SCALE \\* x' must occur once in g, and occurs 0 times"):
        build(own_lesson("return x * SCALE"))
    for scale, words in {
        "SCALE = later": "the right answers by themselves stop with NameError: name 'later'",
        "for SCALE in range(3): pass": "the answer g needs SCALE, which is made by a for statement",
    }.items():
        path = own_lesson("return SCALE * x")
        path.write_text(path.read_text("utf8").replace("SCALE = 3", scale), "utf8")
        with pytest.raises(BuildError, match=words):
            build(path)


def test_a_lesson_that_was_not_built_is_told(own_lesson):
    from book.lessons import registry

    with pytest.raises(ValueError, match="ch97/tasks.py cannot be imported .*solution.*: run toolkit build"):
        registry.tasks("97")


def test_a_damaged_record_is_told(lesson99):
    path = record.path_of("99")
    text = path.read_text("utf8")
    try:
        path.write_text("{}", "utf8")
        with pytest.raises(ValueError, match="ch99/reference.json is damaged .*: run toolkit build"):
            record.load("99")
    finally:
        path.write_text(text, "utf8")


def test_markers_are_what_nbval_and_nbgrader_know():
    from nbval.plugin import find_comment_markers

    assert dict(find_comment_markers(building.CHECK)) == {"check": True}
    assert (building.BEGIN, building.END) == ("### BEGIN SOLUTION", "### END SOLUTION")
