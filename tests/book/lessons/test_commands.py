"""The command `toolkit` and the widget: what a student sees."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from book.__main__ import COMMANDS, make_app
from tests.book.lessons import lesson_99

ROOT = Path(__file__).parents[3]


def toolkit(*words):
    result = CliRunner().invoke(make_app(), [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch, lesson99):
    monkeypatch.setenv("TOOLKIT_STATE", str(tmp_path / "state"))


def test_help_names_the_commands():
    code, output = toolkit("--help")
    assert code == 0
    assert all(f"\n  {name}" in output for name in ("check", "hint", "build"))
    assert toolkit("nonsense")[0] == 2


def test_the_command_does_not_load_torch_to_give_a_hint(lesson99):
    code = (
        "import sys\nfrom book.__main__ import make_app\n"
        "make_app()(['hint', '99', '1'], standalone_mode=False)\nprint('torch' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.check_output([sys.executable, "-c", code], text=True, env=env)
    assert out.startswith("Hint 1 of 3 for 99.1: ") and out.endswith("False\n")


def test_python_m_toolkit_is_the_command(lesson99):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "book", "check", str(lesson99.root / "none.ipynb")]
    done = subprocess.run(run, capture_output=True, text=True, env=env)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"There is no file {lesson99.root / 'none.ipynb'}.\n"


def test_check_tells_each_task(lesson99, tmp_path):
    path = lesson_99.edited(
        lesson99.exercise,
        tmp_path / "99_small.ipynb",
        answer_99_3="sigma = 0.8",
        answer_99_4="formula = 'a*b'",
    )
    code, output = toolkit("check", path)
    assert code == 1
    lines = output.splitlines()
    assert lines[0] == "99_small.ipynb" and lines[-1] == "1 of 6 tasks done, 1 of 8 points"
    assert "99.3  done       How much noise is left" in lines
    assert "99.4  not yet    The coefficient of x_0" in lines
    assert "      One term is missing. What happens at b = 0?" in lines
    assert "99.1  not tried  One jump" in lines


def test_check_of_one_task_is_0_when_it_is_done(lesson99):
    code, output = toolkit("check", lesson99.solution, "--task", "3", "--task", "99.5")
    assert code == 0 and output.splitlines()[-1] == "2 of 2 tasks done, 2 of 2 points"


@pytest.mark.parametrize(
    "words, said",
    [
        (["--task", "9"], "there is no task 99.9; there are 99.1"),
        (["--deadline", "0"], "--deadline is 0; give seconds above 0"),
    ],
)
def test_check_says_what_does_not_fit(lesson99, words, said):
    code, output = toolkit("check", lesson99.exercise, *words)
    assert code == 2 and said in output


def test_in_a_terminal_the_verdicts_are_a_table(lesson99, monkeypatch, capsys):
    from book.lessons import commands, record
    from book.lessons.running import Result

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    cells = record.load("99").cells
    commands._table(
        lesson99.exercise,
        [Result(cells[0], "done"), Result(cells[1], "not yet", "Use [x] first.", "A note.")],
    )
    out = capsys.readouterr().out
    assert "verdict" in out and "Use [x] first." in out and "1 of 2 tasks done, 1 of 3 points" in out


def test_hints_come_one_by_one_and_are_remembered():
    said = [toolkit("hint", "99", "1")[1] for _ in range(4)]
    assert [s.split(" of 3")[0] for s in said[:3]] == ["Hint 1", "Hint 2", "Hint 3"]
    assert "You have seen all hints" in said[3] and "Hint 3 of 3" in said[3]
    assert toolkit("hint", "99.2")[1].startswith("Hint 1 of 3 for 99.2")
    assert "first one again" in toolkit("hint", "99", "1", "--reset")[1]
    assert toolkit("hint", "99", "99.1")[1].startswith("Hint 1")
    assert toolkit("hint", "99", "3", "--all")[1].count("Hint ") == 3


@pytest.mark.parametrize(
    "words, said",
    [
        (["99", "9"], "there is no task 99.9"),
        (["98", "1"], "there is no lesson 98"),
        (["one", "1"], "names no lesson"),
        (["99"], "name the lesson and the task"),
        (["99", "x"], "name the lesson and the task"),
    ],
)
def test_hint_says_what_does_not_fit(words, said):
    code, output = toolkit("hint", *words)
    assert code == 2 and said in output and len(output.splitlines()) == 1


@pytest.mark.parametrize("content", ["[]", "{", '{"99.1": "x"}', '{"99.1": 99}'])
def test_hints_survive_a_damaged_state(tmp_path, content):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "hints.json").write_text(content)
    assert toolkit("hint", "99", "1")[1].startswith("Hint 1")


def test_hints_come_though_nothing_can_be_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOOLKIT_STATE", str(tmp_path / "file"))
    code, output = toolkit("hint", "99", "1")
    assert code == 0 and "Hint 1" in output and "could not be kept" in output


def test_build_writes_and_check_compares(lesson99, tmp_path, monkeypatch):
    before = lesson99.exercise.read_text("utf8")
    try:
        lesson99.exercise.write_text(before + " ", "utf8")
        code, output = toolkit("build", "--check", lesson99.solution)
        assert code == 1
        assert output == "99_small.ipynb in exercises/ is not what 99_small.ipynb gives: run toolkit build\n"
    finally:
        lesson99.exercise.write_text(before, "utf8")
    monkeypatch.chdir(tmp_path)
    assert toolkit("build")[0] == 2
    (tmp_path / "99_bad.ipynb").write_text("no")
    code, output = toolkit("build", tmp_path / "99_bad.ipynb")
    assert code == 1 and "it is not JSON" in output


def test_every_command_that_is_there_has_a_help():
    for name in COMMANDS:
        code, output = toolkit(name, "--help")
        assert code == 0 and "Usage" in output, (name, output)


# --- the widget -----------------------------------------------------------------------------------------


def answers(lesson99, **changes):
    """The variables of a notebook in which the solution was run, some of them changed."""
    import nbformat

    names = {}
    for cell in nbformat.read(lesson99.solution, as_version=4).cells:
        if cell.cell_type == "code" and not cell["id"].startswith("check"):
            exec(cell.source, names)
    return {**names, **changes}


def test_progress_tells_each_task_on_the_live_answers(lesson99):
    from book.lessons import progress

    names = answers(lesson99, sigma=0.64, formula=...)
    del names["mean"]
    shown = progress("99", names)
    states = {r.cell.task: (r.state, r.sentence) for r in shown.results}
    assert states["99.1"] == states["99.2"] == states["99.5"] == ("done", "")
    assert states["99.3"] == ("not yet", "This is the variance. What is the standard deviation?")
    assert states["99.4"][0] == "not tried"
    assert states["99.6"] == ("not tried", "mean is not defined yet: run its cell first.")
    assert repr(shown).endswith("3 of 6 tasks done")


def test_the_button_checks_all_again(lesson99):
    from book.lessons import progress

    names = answers(lesson99, sigma=0.64)
    shown = progress("99", names)
    bundle = shown._repr_mimebundle_()
    assert {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    button, table = shown.controls
    assert "5 of 6 tasks done" in table.value
    names["sigma"] = 0.8
    button.click()
    assert "6 of 6 tasks done" in table.value and button.description == "check all" and not button.disabled


def test_progress_is_a_table_that_everybody_can_read(lesson99):
    from book.lessons import progress

    html = progress("99", answers(lesson99, sigma="<b>"))._repr_html_()
    assert "<caption" in html and 'scope="col"' in html and 'scope="row"' in html
    assert "✓ done" in html and "✗ not yet" in html
    assert "<b>" not in html and "&lt;b&gt;" in html


def test_in_a_kernel_a_check_says_one_sentence_and_progress_sees_the_answers(lesson99, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    sources = [
        "from book.lessons import check, progress\nsigma = 0.64",
        "check('99.3', sigma)",
        "progress('99')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": tmp_path}}).execute()
    stream, error = notebook.cells[1].outputs
    assert stream.text == "99.3  sigma at alpha = 0.6  0.640\n"
    assert error.traceback == ["99.3 not yet. This is the variance. What is the standard deviation?"]
    (shown,) = notebook.cells[2].outputs
    assert "99.3  not yet" in shown.data["text/plain"] and "99.1  not tried" in shown.data["text/plain"]
    assert "not defined yet: run its cell first" in shown.data["text/html"]


def test_progress_says_which_lesson_is_not_there():
    from book.lessons import progress

    with pytest.raises(ValueError, match="there is no lesson 98"):
        progress("98")


def test_the_check_cells_are_plain_calls(lesson99):
    from book.lessons import record

    for cell in record.load("99").cells:
        assert isinstance(ast.parse(cell.source).body[-1].value, ast.Call)
