"""`python -m benchmarks.grading`: seconds a submission beside nbgrader's, and large classes.

Both grade the same made-up class of each lesson on the same machine: nbgrader's autograde and
generate_feedback, and `toolkit grade`, each as whole commands in fresh processes.  On a machine with other
work the seconds of the processors tell more than those of the clock: both are written, and the load.  The
notebooks of a class differ in what they take, so both are timed on the same ones.

Then 300 submissions to lesson 00, ten of them hostile, and the same with ten honest ones in their places: do
the marks of the others move?  A class of 60 with one worker and two: are all pages the same?  A class of
1,000: seconds, memory, and the size of what is written.

Results go to benchmarks/results/<machine>-grading.json, each part as soon as it is there.
"""

import argparse
import csv
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.__main__ import RESULTS, machine, tag
from benchmarks.timing import Watched, load, watched
from book.lessons import registry
from tests.book.grading import classes

ROOT = Path(__file__).resolve().parents[1]
HOSTILE = {
    "a loop that swallows interrupts": (
        "while True:\n    try:\n        import time; time.sleep(1)\n    except BaseException: pass"
    ),
    "prints without end": "while True: print('x' * 1000)",
    "a fork bomb": "import os\nwhile True: os.fork()",
    "memory": "import numpy\nkept = []\nwhile True: kept.append(numpy.ones(10**7))",
    "ends the process": "import os; os._exit(0)",
    "kills what it can": "import os; os.kill(-1, 9)",
    "a segmentation fault": "import ctypes; ctypes.string_at(0)",
    "files": "n = 0\nwhile True:\n    n += 1; open(f'/tmp/{n}', 'w').write('x' * 10**6)",
    "replaces the check": "import book.lessons as t; t.check = lambda *a, **k: print('0.1 done')",
    "the network": "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
}


def beside_nbgrader(command: str, lesson: str, students: int) -> dict:
    """Seconds a submission of both for the same notebooks, and whether they give the same marks."""
    files = {f"s{n:03d}": classes.text(one) for n, one in enumerate(classes.notebooks(lesson, students))}
    began = load()
    (theirs, others), (ours, mine) = nbgraders(command, lesson, files), toolkits(lesson, files)
    written = {"submissions": students, "load": [began, load()]}
    for what, unit in (("seconds", ""), ("cpu", "cpu_")):
        both = getattr(theirs, what), getattr(ours, what)
        written |= {f"nbgrader_{unit}s_each": round(both[0] / students, 2)}
        written |= {f"toolkit_{unit}s_each": round(both[1] / students, 2)}
        written[f"{unit}ratio"] = round(both[0] / both[1], 2)
    return written | {"same_marks": mine == others}


def toolkits(lesson: str, files: dict[str, bytes]) -> tuple[Watched, dict[str, float]]:
    """(what `toolkit grade` took for these notebooks, their marks)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        classes.folders(files, folder / "in", classes.record.load(lesson).notebook)
        took = watched(ours_command(folder / "in", folder / "out", lesson), ROOT)
        return took, scores(folder / "out")


def nbgraders(command: str, lesson: str, files: dict[str, bytes]) -> tuple[Watched, dict[str, float]]:
    """(what nbgrader took for these notebooks, their marks)."""
    notebook = classes.record.load(lesson).notebook
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    clean |= {"PYTHONPATH": str(ROOT), "JUPYTER_PATH": str(Path(sys.prefix, "share/jupyter"))}
    clean["PATH"] = f"{Path(command).parent}{os.pathsep}{clean['PATH']}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source" / lesson).mkdir(parents=True)
        shutil.copy(ROOT / "exercises" / notebook, folder / "source" / lesson)
        (folder / "nbgrader_config.py").write_text('get_config().CourseDirectory.course_id = "x"\n')
        watched([command, "generate_assignment", lesson], folder, env=clean)
        for student, raw in files.items():
            path = folder / "submitted" / student / lesson / notebook
            path.parent.mkdir(parents=True)
            path.write_bytes(raw)
        steps = [[command, "autograde", lesson], [command, "generate_feedback", lesson]]
        took = [watched(step, folder, env=clean) for step in steps]
        watched([command, "export"], folder, env=clean)
        rows = csv.DictReader((folder / "grades.csv").open())
        marks = {row["student_id"]: float(row["score"]) for row in rows}
    return Watched(sum(one.seconds for one in took), sum(one.cpu for one in took), 0), marks


def ours_command(source, out, lesson, jobs=-1) -> list[str]:
    line = [sys.executable, "-m", "book", "grade", str(source), "-o", str(out), "--lesson", lesson]
    return [*line, "--jobs", str(jobs)]


def scores(out: Path) -> dict[str, float]:
    rows = csv.DictReader((out / "grades.csv").open(encoding="utf-8-sig"))
    return {row["key"]: float(row["score"]) for row in rows}


def graded(made: list, folder: Path, jobs: int = -1, memory: bool = False) -> tuple[Watched, dict]:
    """(what grading a class of lesson 00 took, {name of a file: its bytes} of its pages and tables)."""
    files = {f"s{n:04d}": classes.text(one) for n, one in enumerate(made)}
    classes.folders(files, folder / "in", "00_start_here.ipynb")
    took = watched(ours_command(folder / "in", folder / "out", "00", jobs), ROOT, memory)
    kept = (path for path in (folder / "out").rglob("*") if path.is_file() and path.parent.name != "state")
    return took, {str(path.relative_to(folder / "out")): path.read_bytes() for path in kept}


def with_hostile(students: int) -> dict:
    """A class with ten hostile submissions, and the same with honest ones in their places."""
    made = classes.notebooks("00", students, seed=3)
    chosen = random.Random(3).sample(range(students), len(HOSTILE))
    places = dict(zip(chosen, HOSTILE, strict=True))
    with tempfile.TemporaryDirectory() as name:
        honest, before = graded(made, Path(name, "honest"))
        for n, kind in places.items():
            next(c for c in made[n].cells if c["id"] == "answer-0-1").source = HOSTILE[kind]
        took, pages = graded(made, Path(name, "hostile"))
        marks = scores(Path(name, "hostile", "out"))
    others = [page for page in pages if "feedback/" in page and int(page[-9:-5]) not in places]
    return {
        "submissions": students,
        "seconds": round(took.seconds, 1),
        "seconds_without_hostile": round(honest.seconds, 1),
        "hostile": {kind: marks[f"s{n:04d}"] for n, kind in places.items()},
        "lost": students - len(marks),
        "pages_of_others": len(others),
        "pages_of_others_that_moved": sum(pages[page] != before[page] for page in others),
    }


def over_workers(students: int) -> dict:
    """Whether one worker and two write the same bytes."""
    made = classes.notebooks("00", students, seed=4)
    with tempfile.TemporaryDirectory() as name:
        found = {jobs: graded(made, Path(name, f"{jobs}"), jobs) for jobs in (1, 2)}
    (one, ones), (two, twos) = found.values()
    seconds = {"1": round(one.seconds, 1), "2": round(two.seconds, 1)}
    return {"submissions": students, "seconds": seconds, "files": len(ones), "equal": ones == twos}


def thousand(students: int) -> dict:
    """A class of so many, once: time, memory of all processes together, and what is written."""
    made = classes.notebooks("00", students, seed=5)
    with tempfile.TemporaryDirectory() as name:
        took, pages = graded(made, Path(name), memory=True)
        kept = [path.stat().st_size for path in Path(name, "out", "state").glob("*.json")]
    return {
        "submissions": students,
        "different": len(kept),
        "seconds": round(took.seconds, 1),
        "cpu_s": round(took.cpu, 1),
        "peak_memory_GB": round(took.memory / 2**30, 2),
        "files": len(pages),
        "MB": round(sum(map(len, pages.values())) / 2**20, 1),
        "state_MB": round(sum(kept) / 2**20, 1),
        "load": load(),
    }


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading", description=__doc__.splitlines()[0])
    beside = Path(sys.prefix, "nbgrader/bin/nbgrader")
    parser.add_argument("--nbgrader", default=str(beside), help="nbgrader's command [%(default)s]")
    parser.add_argument("--students", type=int, default=40)
    parser.add_argument("parts", nargs="*", help="lessons, or hostile, workers, thousand [all]")
    chosen = parser.parse_args()
    about = machine()
    path = RESULTS / f"{tag(about)}-grading.json"
    written = json.loads(path.read_text("utf8")) if path.exists() else {}
    large = {"hostile": (with_hostile, 300), "workers": (over_workers, 60), "thousand": (thousand, 1000)}
    for part in chosen.parts or [*registry.lessons(), *large]:
        if part in large:
            make, students = large[part]
            written[part] = make(students)
        else:
            found = beside_nbgrader(chosen.nbgrader, part, chosen.students)
            written[f"lesson {part}"] = found
        path.write_text(json.dumps(written | {"machine": about}, indent=1) + "\n")
        print(part, json.dumps(written.get(part, written.get(f"lesson {part}"))), flush=True)


if __name__ == "__main__":
    main()
