"""`python -m benchmarks.grading`: submissions a minute beside nbgrader's, and a class of 300, four times.

Both grade the same made-up class on the same machine, in turn: nbgrader's autograde and generate_feedback,
and `toolkit grade`, each as whole commands in fresh processes.  Lesson 00 is the lightest; in 02 and 04 the
students' own code takes the longest.  Then 300 submissions to lesson 00, ten of them
hostile, with 1, 2 and 4 workers and once more with 2: how many were lost, and whether all marks are equal.
Results go to benchmarks/results/<machine>-grading.json.
"""

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.__main__ import RESULTS, machine, tag
from tests.book.grading import classes

ROOT = Path(__file__).resolve().parents[1]
LESSONS = ("00", "02", "04")

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


def timed(line, folder, **more) -> float:
    """Seconds that a command takes.  Raises RuntimeError when it fails."""
    start = time.perf_counter()
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, **more)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{line[:3]}: {done.stderr[-1000:]}")
    return time.perf_counter() - start


def beside_nbgrader(command: str, lesson: str, students: int, rounds: int) -> dict:
    """Seconds a submission of both, in turn, and whether they give the same marks."""
    files = {f"s{n:03d}": classes.text(one) for n, one in enumerate(classes.notebooks(lesson, students))}
    notebook = classes.record.load(lesson).notebook
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    clean |= {"PYTHONPATH": str(ROOT), "JUPYTER_PATH": str(Path(sys.prefix, "share/jupyter"))}
    clean["PATH"] = f"{Path(command).parent}{os.pathsep}{clean['PATH']}"
    theirs, ours, alike = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "source" / lesson).mkdir(parents=True)
            shutil.copy(ROOT / "exercises" / notebook, folder / "source" / lesson)
            (folder / "nbgrader_config.py").write_text('get_config().CourseDirectory.course_id = "x"\n')
            timed([command, "generate_assignment", lesson], folder, env=clean)
            for student, raw in files.items():
                path = folder / "submitted" / student / lesson / notebook
                path.parent.mkdir(parents=True)
                path.write_bytes(raw)
            steps = [[command, "autograde", lesson], [command, "generate_feedback", lesson]]
            theirs.append(sum(timed(step, folder, env=clean) for step in steps))
            timed([command, "export"], folder, env=clean)
            marks = {
                r["student_id"]: float(r["score"]) for r in csv.DictReader((folder / "grades.csv").open())
            }
            ours.append(timed(ours_command(folder / "submitted", folder / "out", lesson), ROOT))
            alike.append(marks == scores(folder / "out"))
    best = [min(times) / students for times in (theirs, ours)]
    return {
        "submissions": students,
        "rounds": rounds,
        "cores": os.cpu_count(),
        "nbgrader_s_each": [round(t / students, 2) for t in theirs],
        "toolkit_s_each": [round(t / students, 2) for t in ours],
        "nbgrader_a_minute": round(60 / best[0], 1),
        "toolkit_a_minute": round(60 / best[1], 1),
        "ratio": round(best[0] / best[1], 2),
        "same_marks": all(alike),
    }


def ours_command(source, out, lesson, jobs=-1) -> list[str]:
    line = [sys.executable, "-m", "book", "grade", str(source), "-o", str(out), "--lesson", lesson]
    return [*line, "--jobs", str(jobs)]


def scores(out: Path) -> dict[str, float]:
    rows = csv.DictReader((out / "grades.csv").open(encoding="utf-8-sig"))
    return {row["key"]: float(row["score"]) for row in rows}


def class_of(students: int) -> dict:
    """{'seconds each', 'lost', 'equal'} for a class with ten hostile submissions, graded four times."""
    made = classes.notebooks("00", students, seed=3)
    hostile = random.Random(3).sample(range(students), len(HOSTILE))
    for n, source in zip(hostile, HOSTILE.values(), strict=True):
        next(c for c in made[n].cells if c["id"] == "answer-0-1").source = source
    rows, found, first = [], [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {f"s{n:03d}": classes.text(one) for n, one in enumerate(made)}
        classes.folders(files, folder / "in", "00_start_here.ipynb")
        for number, jobs in enumerate((2, 1, 4, 2)):
            out = folder / f"out{number}"
            seconds = timed(ours_command(folder / "in", out, "00", jobs), ROOT)
            found.append(scores(out))
            pages = {path.name: path.read_bytes() for path in (out / "feedback").iterdir()}
            first = pages if number == 0 else first
            same = pages == first
            rows.append({"workers": jobs, "seconds": round(seconds, 1), "same_pages_as_first": same})
    return {
        "submissions": students,
        "hostile": {name: found[0][f"s{n:03d}"] for n, name in zip(hostile, HOSTILE, strict=True)},
        "lost": students - min(len(one) for one in found),
        "equal_marks": all(one == found[0] for one in found),
        "runs": rows,
    }


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading", description=__doc__.splitlines()[0])
    beside = Path(sys.prefix, "nbgrader/bin/nbgrader")
    parser.add_argument("--nbgrader", default=str(beside), help="nbgrader's command [%(default)s]")
    parser.add_argument("--students", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--large", type=int, default=300, help="size of the large class; 0 leaves it out")
    chosen = parser.parse_args()
    about = machine()
    written = {"machine": about}
    for lesson in LESSONS:
        beside = beside_nbgrader(chosen.nbgrader, lesson, chosen.students, chosen.rounds)
        written[f"lesson {lesson}"] = beside
    if chosen.large:
        written["large class"] = class_of(chosen.large)
    path = RESULTS / f"{tag(about)}-grading.json"
    path.write_text(json.dumps(written, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
