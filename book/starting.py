"""From a copy of this project to JupyterLab and to tests, on any machine: what lab.py and the Makefile start.

Nothing but Python's own library is imported here: this runs before anything is installed, and by whichever
Python a reader has. It makes the environment in `.venv` and starts everything else in it. What it prints
itself is plain ASCII, which every console can show.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path, PurePath

from book import threads

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / os.environ.get("VENV", ".venv")
WINDOWS = os.name == "nt"

USAGE = """\
python lab.py [OPTION]           open JupyterLab at the first chapter; the options are JupyterLab's
python lab.py check FILE         a command of the toolkit: check, hint, hunt, contest, slides, cite, grade
python lab.py test               everything that must hold: lint, pytest, notebooks
python lab.py quick              the part of it that takes three minutes
python lab.py lint | pytest | notebooks
python lab.py install [OPTION]   make the environment only; the options are those of pip for PyTorch alone
python lab.py run PROGRAM        a program of the environment, under the settings of the tests
python lab.py clean              remove the environment
"""

LAB = [
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--LabApp.default_url=/lab/tree/chapters/00_start_here.ipynb",
]
NEWS = "@jupyterlab/apputils-extension:announcements"  # would ask each new reader whether to fetch some
ALONE = ["k-diffusion", "smalldiffusion"]  # would pull a second torch; the extra `test` has what they import
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", "constraints.txt"]
# By their order and not by how many tests they have: the longest files have few, and would come last, alone.
SHARED = ["--dist", "loadgroup", "--no-loadscope-reorder"]
JUDGED = ["-p", "tests.book.notebooks.form", "-p", "tests.book.notebooks.claimed"]
# Their tests need the forks, locks and limits of Linux and macOS, as they do themselves.
POSIX_ONLY = ("tests/book/grading", "tests/book/contest")
# What an environment is made from: where one of these changes, it is brought up to date.
SOURCES = ("pyproject.toml", "setup.py", "constraints.txt", "book/labextension/static/remoteEntry.js")
AGAIN = "Run the same command again: it begins afresh, with what was downloaded"


class CannotStart(Exception):
    """Why this machine cannot go on, in one sentence."""


# --- where things are -----------------------------------------------------------------------------------


def program(venv: PurePath, name: str = "python", windows: bool = WINDOWS) -> PurePath:
    """A program of an environment: `Scripts\\python.exe` in Windows' environments, `bin/python` in others."""
    return venv / "Scripts" / f"{name}.exe" if windows else venv / "bin" / name


def wanted() -> str:
    """What the environment is made from, as a number that changes with it."""
    texts = [(ROOT / name).read_text("utf8") for name in SOURCES]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def utf8(given: dict[str, str]) -> dict[str, str]:
    """The environment `given` with UTF-8 for files and consoles, unless the reader has said no."""
    return {"PYTHONUTF8": "1"} | given


def run(line: Sequence, env: dict[str, str], folder: Path | None = ROOT) -> int:
    """Run a program and wait for its end; Ctrl-C is for the program alone.

    folder: where it runs; None for the reader's own.  Raises CannotStart where there is no such program.
    """
    try:
        process = subprocess.Popen([str(word) for word in line], cwd=folder, env=env)
    except FileNotFoundError:
        raise CannotStart(f"There is no program {line[0]}") from None
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            return process.wait()


def tested(*words) -> int:
    """Run the environment's Python under the settings of tests: the same numbers on every run."""
    return run([program(VENV), *words], utf8(os.environ | threads.FIXED))


# --- installing -----------------------------------------------------------------------------------------


def install(torch_options: Sequence[str] = (), venv: Path = VENV) -> None:
    """Make the environment, or bring it up to date; nothing where it is.  Raises CannotStart.

    A file `.installing` lies in an environment while packages come in: where it is found, an earlier run was
    stopped, and what it left may look whole without being so. Then the environment is made anew.
    """
    stamp, underway = venv / ".installed", venv / ".installing"
    whole = stamp.is_file() and not underway.exists() and program(venv).is_file()
    if whole and stamp.read_text("utf8").strip() == wanted():
        return
    if underway.exists() or not _runs(venv):
        _create(venv)
    print(f"Installing PyTorch and JupyterLab into {venv.name}: once, some minutes.", flush=True)
    underway.touch()
    stamp.unlink(missing_ok=True)
    steps = [[*torch_options, "torch"], ["--editable", ".[book,test]"], ["--no-deps", *ALONE]]
    for packages in steps:
        _installed(venv, PIP + packages)
    quiet = ["-m", "jupyterlab.labextensions", "disable", "--level=sys_prefix", NEWS]
    with open(venv / ".log", "wb") as log:
        line = [program(venv), *quiet]
        subprocess.run(line, cwd=ROOT, env=utf8(dict(os.environ)), stdout=log, stderr=log)
    stamp.write_text(f"{wanted()}\n", "utf8")
    underway.unlink()


def _runs(venv):
    """Whether an environment's Python starts and has pip; one whose Python was removed has neither."""
    try:
        return not subprocess.run([program(venv), "-m", "pip", "--version"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode  # fmt: skip
    except OSError:
        return False


def _create(venv):
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        raise CannotStart(
            "This Python cannot make environments: on Debian and Ubuntu run `sudo apt install python3-venv`, "
            "then the same command again"
        )
    ours = getattr(sys, "_base_executable", sys.executable)  # not the Python of the environment to be cleared
    if subprocess.run([ours, "-m", "venv", "--clear", venv], cwd=ROOT).returncode:
        raise CannotStart(f"No environment could be made in {venv.name}; the lines above say why")


def _installed(venv, words):
    """Run the environment's pip.  Raises CannotStart when it fails or is stopped."""
    try:
        code = subprocess.run([program(venv), *words], cwd=ROOT, env=utf8(dict(os.environ))).returncode
    except KeyboardInterrupt:
        raise CannotStart(f"Stopped. {AGAIN}") from None
    if code:
        raise CannotStart(f"The installation stopped; the lines above say why. {AGAIN}")


def add_nbgrader() -> None:
    """nbgrader, which our marks are compared with, brings a tab of its own into JupyterLab: so it lies in an
    environment beside, which sees the packages of the first.  Raises CannotStart."""
    stamp, beside = VENV / ".nbgrader", VENV / "nbgrader"
    if stamp.is_file() and stamp.stat().st_mtime >= (VENV / ".installed").stat().st_mtime:
        return
    subprocess.run([program(VENV), "-m", "venv", beside], check=True)
    first, second = _packages_of(VENV), _packages_of(beside)
    # In ASCII, for Python reads such a file by the machine's encoding.
    Path(second, "above.pth").write_text(f"import site; site.addsitedir({first!a})\n", "ascii")
    _installed(beside, [*PIP, "nbgrader>=0.9.6"])
    stamp.touch()


def _packages_of(venv):
    ask = "import sysconfig; print(ascii(sysconfig.get_path('purelib')))"
    said = subprocess.run([program(venv), "-c", ask], check=True, capture_output=True, text=True).stdout
    return said.strip()[1:-1].encode("ascii").decode("unicode_escape")


def clean() -> int:
    """Remove the environment."""
    if (VENV / "pyvenv.cfg").is_file() or (VENV / ".installing").exists():
        shutil.rmtree(VENV)
    return 0


# --- what can be asked for ------------------------------------------------------------------------------


def lab(options: Sequence[str] = ()) -> int:
    """Open JupyterLab.  Its server refuses to run for root unless it is told to."""
    root = ["--allow-root"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    line = [program(VENV), "-m", "jupyterlab", *root, *LAB, *options]
    return run(line, utf8(threads.environment()))


def lint() -> int:
    """Hold the code to its style."""
    return tested("-m", "ruff", "check", ".")


def pytest(options: Sequence[str] = (), marked: str = "not claims") -> int:
    """Run the tests.  Claims whose experiments a page shows are decided by `notebooks`, in the kernel that
    has run them."""
    jobs = os.environ.get("JOBS", "2")
    told = ["--skipped-to", VENV / ".skipped"] if marked == "not claims" else []
    told += [f"--ignore={folder}" for folder in POSIX_ONLY if WINDOWS]
    return tested("-m", "pytest", "-q", "-n", jobs, *SHARED, "-m", marked, *told, *options)


def notebooks() -> int:
    """The chapters as nbval sees them; what it got is then compared, to the byte, with what is committed, and
    the claims of the experiments that it shows are decided."""
    jobs = ["-n", os.environ.get("JOBS", "2"), "--dist", "loadfile"]
    return tested("-m", "pytest", "-q", *jobs, *JUDGED, "--nbval", "--nbval-current-env", "chapters")


def whole_test(options: Sequence[str] = ()) -> int:
    """Everything that must hold, up to the first part that fails; last, what this machine could not run."""
    add_nbgrader()
    code = lint() or pytest(options) or notebooks()
    if not code:
        print((VENV / ".skipped").read_text("utf8"), end="")
        if WINDOWS:
            print("Not run: the tests of grading and of the contest, which run on Linux and macOS.")
    return code


def main(words: Sequence[str]) -> int:
    """Do what the words of the command line ask for; the exit code."""
    first, rest = (words[0], list(words[1:])) if words else ("", [])
    try:
        if first in ("help", "--help", "-h"):
            print(USAGE, end="")
            return 0
        if first == "clean":
            return clean()
        install(rest if first == "install" else ())
        if first == "install":
            return 0
        if not first or first.startswith("-"):
            return lab(words)
        return _asked(first, rest)
    except CannotStart as why:
        print(f"{why}.", file=sys.stderr)
        return 1


def _asked(first, rest):
    if first == "pytest":
        add_nbgrader()
    parts = {"test": whole_test, "pytest": pytest, "quick": _quick}
    if first in parts:
        return parts[first](rest)
    if first in ("lint", "notebooks"):
        return {"lint": lint, "notebooks": notebooks}[first]()
    if first == "run":
        name, *more = rest or ["python"]
        return run([program(VENV, name), *more], utf8(os.environ | threads.FIXED))
    return run([program(VENV), "-m", "book", first, *rest], utf8(threads.environment()), None)


def _quick(options):
    return lint() or pytest(options, "not slow and not browser")
