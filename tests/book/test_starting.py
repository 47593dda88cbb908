"""`lab.py` and what it starts: on any machine, as far as one machine can show it."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from book import starting
from book.__main__ import forgive
from book.threads import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
# Settings of the machine that a reader may have: the oldest console of Windows, a locale without any.
CONSOLES = [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0"}]


def test_programs_of_an_environment():
    there = PureWindowsPath(r"C:\Users\Zoë Müller\book\.venv")
    assert str(starting.program(there, windows=True)) == there.drive + (
        r"\Users\Zoë Müller\book\.venv\Scripts\python.exe"
    )
    assert starting.program(there, "ruff", windows=True).name == "ruff.exe"
    assert str(starting.program(PurePosixPath("/a b/.venv"), windows=False)) == "/a b/.venv/bin/python"


def test_lab_py_can_be_read_by_a_python_that_is_too_old():
    """No f-string, annotation or the like stands in it: an old Python is to reach its sentence."""
    tree = ast.parse((ROOT / "lab.py").read_text("ascii"), feature_version=(3, 4))
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Starred, ast.AsyncFunctionDef)
    assert not [node for node in ast.walk(tree) if isinstance(node, new)]


def test_an_old_python_is_told_in_one_sentence(tmp_path):
    told = "import sys; sys.version_info = (3, 8, 10); sys.argv = ['lab.py']\n"
    code = told + "import runpy; runpy.run_path('lab.py', run_name='__main__')"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr == (
        "Python 3.11 or newer is needed, and this is 3.8: install one, and run lab.py with it\n"
    )


def test_what_runs_first_imports_nothing_that_must_be_installed():
    """`python -S` sees no installed package."""
    code = "import sys; sys.path.insert(0, '.'); from book import starting; print(starting.main(['help']))"
    run = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("python lab.py") and run.stdout.endswith("0\n")


def test_what_it_prints_itself_is_ascii():
    tree = ast.parse((ROOT / "book" / "starting.py").read_text("utf8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert all(text.isascii() for text in texts if isinstance(text, str))


@pytest.mark.parametrize("console", CONSOLES, ids=str)
def test_no_console_ends_a_command_by_its_letters(console):
    """A sentence with a formula in it comes whole, with ? for what the console lacks."""
    code = "from book.__main__ import forgive; import sys; forgive(sys.stdout); print('κ = σ/α →')"
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONUTF8", "PYTHONIOENCODING", "LC_ALL")}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env | console, capture_output=True)
    assert run.returncode == 0, run.stderr
    assert b" = " in run.stdout


def test_only_what_cannot_be_shown_is_replaced():
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    forgive(console, io.StringIO())
    console.write("σ = ½")
    console.flush()
    assert console.buffer.getvalue().decode("cp1252") == "? = ½"


def opened_by_the_machine_s_encoding(tree):
    """The lines on which a text file is opened without its encoding."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = [ast.unparse(one) for one in node.args] + [f"{one.arg}=" for one in node.keywords]
        if name in ("read_text", "write_text") and "encoding=" not in given:
            if len(node.args) < (1 if name == "read_text" else 2):
                yield node.lineno
        modes = [one for one in given if re.fullmatch(r"'[rwxa]\+?b?'", one)]
        if name == "open" and "encoding=" not in given and (modes or isinstance(node.func, ast.Name)):
            if not any("b" in mode for mode in modes):
                yield node.lineno


def test_files_of_a_student_s_path_are_opened_in_utf_8():
    """Windows would take a code page.  Grading and the contest are not meant: they run on Linux and macOS."""
    found = opened_by_the_machine_s_encoding
    wrong = ["open(a)", "p.open('x')", "p.read_text()", "p.write_text(t)"]
    lines = [*wrong, "open(a, 'rb')", "p.read_text('utf8')"]
    tree = ast.parse("\n".join(lines))
    assert list(found(tree)) == [1, 2, 3, 4]
    paths = [ROOT / "lab.py", *(ROOT / "toolkit").rglob("*.py"), *(ROOT / "book").rglob("*.py")]
    paths = [path for path in paths if not {"grading", "contest"} & set(path.parts)]
    wrong = [(path, line) for path in paths for line in found(ast.parse(path.read_text("utf8")))]
    assert not wrong


# --- the environment ------------------------------------------------------------------------------------

# Stands for the environment's Python: tells what it is asked, and fails or stops as it is told.
PIP = """\
#!{python}
import os, sys
with open({log!r}, "a", encoding="utf8") as log:
    print(*sys.argv[1:], sep="\\t", file=log)
    print(*(os.environ.get(name, "-") for name in ("PYTHONUTF8", "OMP_NUM_THREADS")), sep="\\t", file=log)
sys.exit({code})
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the files that an environment is made from, in a folder whose name needs care; the Python of
    its environment only keeps a record of what it is asked."""
    if starting.WINDOWS:
        pytest.skip("a script that stands for python.exe cannot be made here")
    root = tmp_path / "räum lich 空" / "book"
    root.mkdir(parents=True)
    for name in starting.SOURCES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    monkeypatch.setattr(starting, "ROOT", root)
    monkeypatch.setattr(starting, "VENV", root / ".venv")
    return Made(root, monkeypatch)


class Made:
    """That project.  made: how often an environment was made; code: with what its Python ends."""

    def __init__(self, root, monkeypatch):
        self.root, self.venv, self.made, self.code = root, root / ".venv", 0, 0
        monkeypatch.setattr(starting, "_create", self.create)

    def create(self, venv):
        self.made += 1
        shutil.rmtree(venv, ignore_errors=True)
        self.python(venv)

    def python(self, venv, code=None):
        path = starting.program(venv)
        path.parent.mkdir(parents=True, exist_ok=True)
        log = str(self.root / "log")
        path.write_text(PIP.format(python=sys.executable, log=log, code=self.code), "utf8")
        path.chmod(0o755)

    def asked(self):
        """What the environment's Python was asked, and forget it."""
        path = self.root / "log"
        lines = path.read_text("utf8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line.split("\t") for line in lines]

    def install(self, *options):
        starting.install(options, self.venv)


def test_it_is_installed_once(project, capsys):
    project.install("--index-url", "https://example.org/a b")
    asked = project.asked()
    pip = [line for line in asked if line[:3] == ["-m", "pip", "install"]]
    assert [line[-1] for line in pip] == ["torch", ".[book,test]", "smalldiffusion"]
    assert pip[0][-3:-1] == ["--index-url", "https://example.org/a b"], "an option with a space stays one"
    assert "--constraint" in pip[1] and "--no-deps" in pip[2]
    project.install()
    assert project.made == 1 and project.asked() == [], "the second time nothing is asked"
    assert capsys.readouterr().out.count("once, some minutes") == 1


def test_other_packages_are_asked_for_when_their_list_changes(project):
    project.install()
    project.asked()
    path = project.root / "constraints.txt"
    path.write_text(path.read_text("utf8") + "# more\n", "utf8")
    project.install()
    assert project.made == 1 and project.asked(), "brought up to date, not made anew"
    before = path.stat().st_mtime
    os.utime(path, (before + 1000, before + 1000))
    project.install()
    assert not project.asked(), "the content counts and not the time"


def test_an_installation_that_failed_or_was_stopped_begins_afresh(project):
    project.code = 1
    with pytest.raises(starting.CannotStart, match="The installation stopped; .* begins afresh"):
        project.install()
    assert (project.venv / ".installing").exists() and not (project.venv / ".installed").exists()
    project.code = 0
    project.install()
    assert project.made == 2
    assert (project.venv / ".installed").exists() and not (project.venv / ".installing").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(project):
    project.install()
    starting.program(project.venv).unlink()
    project.install()
    assert project.made == 2


def test_a_python_that_cannot_make_environments_is_told(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(starting, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(starting.install, "__defaults__", ((), tmp_path / ".venv"))
    monkeypatch.setattr(starting, "find_spec", lambda name: None)
    assert starting.main(["install"]) == 1
    said = capsys.readouterr().err
    assert "python3-venv" in said and said.count("\n") == 1


def test_a_reader_s_own_choices_stay(project, monkeypatch):
    project.install()
    project.asked()
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("PYTHONUTF8", raising=False)
    monkeypatch.setattr(starting.install, "__defaults__", ((), project.venv))
    assert starting.main(["check", "a b.ipynb"]) == 0
    assert project.asked() == [["-m", "book", "check", "a b.ipynb"], ["1", "1"]]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("PYTHONUTF8", "0")
    assert starting.main(["--no-browser"]) == 0
    (asked, environment) = project.asked()
    assert asked[:2] == ["-m", "jupyterlab"] and asked[-1] == "--no-browser"
    assert environment == ["0", "3"]
    project.code = 3
    project.python(project.venv)
    assert starting.main(["hint", "1.4"]) == 3


@pytest.mark.parametrize("windows", [True, False])
def test_all_is_tested_that_the_system_can(project, monkeypatch, capsys, windows):
    project.install()
    project.asked()
    monkeypatch.setattr(starting.install, "__defaults__", ((), project.venv))
    monkeypatch.setattr(starting, "add_nbgrader", lambda: None)
    (project.venv / ".skipped").write_text("Not run: 1 test.\n", "utf8")
    monkeypatch.setattr(starting, "program", lambda venv, name="python": venv / "bin" / name)
    monkeypatch.setattr(starting, "WINDOWS", windows)
    assert starting.main(["test", "--random-order-seed=7"]) == 0
    lint, _, tests, _, pages, _ = project.asked()
    assert lint[:3] == ["-m", "ruff", "check"]
    assert tests[:2] == ["-m", "pytest"] and tests[-1] == "--random-order-seed=7"
    assert ("--ignore=tests/book/grading" in tests) == windows
    assert pages[:2] == ["-m", "pytest"] and pages[-1] == "chapters"
    said = capsys.readouterr().out
    assert "Not run: 1 test." in said and ("of grading" in said) == windows


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_starts_the_same():
    given = ["PYTHON=py", "LAB_FLAGS=--no-browser", "TORCH_FLAGS=-x", "TESTS=-k a"]
    line = ["make", "--dry-run", "--silent", *given]
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    run = subprocess.run([*line, "lab", "test", "book"], cwd=ROOT, capture_output=True, text=True, env=env)
    assert run.stdout.splitlines() == [
        "py lab.py install -x",
        "py lab.py --no-browser",
        "py lab.py test -k a",
        "py lab.py run toolkit book",
        "py lab.py run toolkit states",
    ]


def test_clean_removes_an_environment_and_nothing_else(project):
    project.venv.mkdir()
    (project.venv / "mine").touch()
    starting.clean()
    assert (project.venv / "mine").exists()
    (project.venv / "pyvenv.cfg").touch()
    starting.clean()
    assert not project.venv.exists()


# --- what a student does, on a system without POSIX -----------------------------------------------------

# As on Windows: these modules and names are not there.  What others import of them is loaded before.
WITHOUT = """
    import os, signal, sys
    import torch, scipy.optimize, sklearn.datasets, matplotlib.figure, ipywidgets, nbformat, psutil, typer
    for name in ("fcntl", "resource", "pwd", "grp", "pty", "termios"):
        sys.modules[name] = None
    for name in ("fork", "getuid", "geteuid", "setsid", "killpg", "sched_getaffinity", "chown", "O_NOFOLLOW"):
        hasattr(os, name) and delattr(os, name)
    for name in ("SIGKILL", "SIGPROF", "setitimer", "ITIMER_PROF", "SIGALRM"):
        hasattr(signal, name) and delattr(signal, name)
    from book.__main__ import make_app
    def toolkit(*words):
        return make_app()(list(words), prog_name="toolkit", standalone_mode=False)
"""


def as_on_windows(code, folder):
    """What code prints in a process that lacks what Windows lacks, in a folder."""
    program = textwrap.dedent(WITHOUT) + textwrap.dedent(code)
    env = os.environ | {"PYTHONPATH": str(ROOT), "TOOLKIT_STATE": str(folder / "state")}
    line = [sys.executable, "-X", "utf8", "-c", program]
    run = subprocess.run(line, cwd=folder, env=env, capture_output=True, encoding="utf8")
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


@pytest.mark.slow
def test_hints_hunts_progress_and_verdicts_need_no_posix(tmp_path):
    folder = tmp_path / "Zoë's notebooks"
    shutil.copytree(ROOT / "exercises", folder / "exercises")
    said = as_on_windows(
        """
        toolkit("hint", "1", "1")
        toolkit("hunt", "01", "--bugs", "1", "--seed", "1")
        import book
        from book.ch00 import solution
        book.check("0.1", solution.recover_x0)
        book.progress("00")
        """,
        folder,
    )
    assert "Hint 1 of 3 for 1.1" in said
    assert "open it in JupyterLab" in said and list((folder / "hunts").glob("*.ipynb"))
    assert "0.1" in said


@pytest.mark.slow
def test_where_no_sandbox_can_be_had_one_sentence_says_so(tmp_path):
    (tmp_path / "mine.py").write_text("def train(box): ...\n", "utf8")
    said = as_on_windows(
        """
        import types
        from book.grading import sandbox
        sandbox.sys = types.SimpleNamespace(**vars(sys) | {"platform": "win32"})
        print(toolkit("contest", "run", "mine.py"), toolkit("grade", "mine.py", "-o", "marks"))
        """,
        tmp_path,
    )
    assert said.startswith("2 2\n")
    told = said.removeprefix("2 2\n").splitlines()
    assert len(told) == 2 and all("Windows Subsystem for Linux" in line for line in told), said
