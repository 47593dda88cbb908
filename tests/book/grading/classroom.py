"""An invented class: findings of honest and of hostile submissions, for the tests of reports and pages."""

from book.grading.results import DONE, NOT_TRIED, NOT_YET, Graded, Row, Student, TaskResult

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "</pre></title></style><svg onload=document.title='owned'>",
    "{{ 7 * 191 }}{% raw %}",
    "javascript:document.title='owned'",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "a\x00b\x1b[31mred\x1b[0m\x1b]8;;http://x.y\x07link\x1b]8;;\x07\x07",
    "\u202egpj.exe \u2066abc",
    "\ud800 half",
    "مرحبا بالعالم 😀 ́́́",
    "]]><!--",
]


def task(number, title, points, state=DONE, sentence="", **more):
    """A task of lesson 02."""
    score = points if state == DONE else more.pop("score", 0.0)
    return TaskResult(f"2.{number}", title, points, score, state, sentence, **more)


ROWS = (
    Row("noise at eta = 1, first", "0.437398", "a number"),
    Row("x_0, all 100 steps", "0.0611, 0.0233, … (12 values)", "an array of shape (3, 2)"),
    Row("subsequence(100, 4)", "[100, 75, 50, 25]", "a list of 5 whole numbers"),
    Row("verdict", "nan", "a word"),
)

TITLES = [
    ("How much noise does η stand for?", 2),
    ("One step, three terms", 2),
    ("Fifty steps out of a thousand", 4),
    ("Find the bug: a walk that ends in NaN", 4),
    ("Test a claim: interpolation on one Gaussian", 4),
]


def ada():
    """An ordinary good submission with some of everything."""
    (a, b, c, d, e) = TITLES
    return Graded(
        Student("ada-lovelace-12345", "Ada Lovelace", {"canvas_id": "12345", "email": "ada@b.c"}),
        "02",
        "02_ddim.ipynb",
        (
            task(1, *a, rows=ROWS[:1]),
            task(2, *b, rows=ROWS[:2], notes=("Your check cell was changed; the book's own was run.",)),
            task(
                3, *c, NOT_YET, "The list should end at 0, and yours ends at 25. What is the last step for?",
                kind="mistake", mistake=1, rows=ROWS, score=2.5,
                printed="step 0\nstep 1\n\x1b[32mok\x1b[0m\n" + "x_t = 0.123456\n" * 30,
                flags=("this answer calls toolkit.grids.subsequence, which it should implement",),
            ),
            task(4, *d, NOT_YET, "walk raises ZeroDivisionError: division by zero (line 7 of your cell).",
                 kind="raises", printed="no\n"),
            task(5, *e, NOT_TRIED),
        ),
        file="02_ddim-1.ipynb",
        late=True,
        notes=("Of several notebooks for lesson 02 the latest was graded, “02_ddim-1.ipynb”, not “a”.",),
        flags=("two cells were made in another notebook",),
    )  # fmt: skip


def nothing():
    """A student without a notebook."""
    tasks = tuple(task(k, title, points, NOT_TRIED) for k, (title, points) in enumerate(TITLES, 1))
    return Graded(Student("bob", "Bob"), "02", "02_ddim.ipynb", tasks,
                  problem="No notebook for lesson 02 was handed in.")  # fmt: skip


def eve(text=None):
    """A submission in which every text is hostile; text: only this one."""
    said = HOSTILE if text is None else [text]
    every = "\n".join(said)
    tasks = tuple(
        TaskResult(
            f"2.{k}", one, 3, 0.0, NOT_YET, one, "mistake", k, (Row(one, one, one),),
            every + "\n" + one * 9000, (one, "a note"), (one, "a flag"),
        )
        for k, one in enumerate(said, 1)
    )  # fmt: skip
    return Graded(
        Student("eve", said[0], {"sid": said[-1], "canvas_id": "999"}), "02", "02_ddim.ipynb", tasks,
        file=said[0], notes=tuple(said), flags=tuple(said),
    )  # fmt: skip


def many(count=40):
    """A class: each next student knows a little less."""
    made = []
    for k in range(count):
        tasks = []
        for number, (title, points) in enumerate(TITLES, 1):
            state = (DONE, NOT_YET, NOT_TRIED)[min(2, (k * number * 7 % 97) // 40)]
            sentence = (
                f"What should x be? Yours gives {k / 7:.4f}." if k % 3 else "One term is missing: which one?"
            )
            said = {"sentence": sentence, "kind": "value"} if state == NOT_YET else {}
            tasks.append(task(number, title, points, state, **said))
        student = Student(f"student-{k:02d}", f"Student {k:02d}", {"moodle_id": f"{900 + k}"})
        made.append(Graded(student, "02", "02_ddim.ipynb", tuple(tasks), file="02_ddim.ipynb"))
    return made
