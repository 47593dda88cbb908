"""Attacks on notebooks of one's own: tags, listings and constants of others, forged, changed and left out."""

import json
from dataclasses import dataclass, field, replace

import pytest

from book.grading import issuing
from book.grading.release import release
from book.lessons import bugs, diagnose, drawing, hunting, record, registry
from book.lessons.diagnose import SEEDS
from book.lessons.running import read_notebook
from tests.book.grading import corpus, marking_lab
from tests.book.grading.corpus import after, answer, before, find

pytestmark = pytest.mark.slow

KEY, LAST_YEARS = b"the key of a course of attacks", b"the key of the course before it"
COURSE = issuing.Course(KEY, {"0.1": 1, "2.2": 2}, ("0.2",), partial=True)
LESSONS = {"00": ("0.1", "0.2"), "02": ("2.2",)}
ADA, HALF, HUNT = "ada", {"2.2": 1}, COURSE.hunt("ada", "2.2")
BOB = next(
    name
    for name in map("bob{}".format, range(200))
    if COURSE.constants(name, "0.2") != COURSE.constants(ADA, "0.2")
    and not set(COURSE.hunt(name, "2.2").chosen) & set(HUNT.chosen)
    and COURSE.hunt(name, "2.2").letter != HUNT.letter
)
BOBS = COURSE.hunt(BOB, "2.2")


@dataclass(frozen=True)
class Attack:
    """make: changes Ada's notebook, a dict; it may look at Bob's.  points: of each task.  issued: whose the
    notebook is found to be.  says, flags: {task: part of the sentence, of the remarks for the instructor}.
    changed: tasks whose check cell is not as it was handed out."""

    make: object
    points: dict[str, float]
    lesson: str = "02"
    issued: str = ADA
    says: dict[str, str] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()


ATTACKS: dict[str, Attack] = {}


def attack(name, points, **told):
    """Add what is decorated, which gets Ada's notebook and Bob's."""

    def add(make):
        ATTACKS[name] = Attack(make, points, **told)
        return make

    return add


def listing(hunt, left=()):
    """The source of a hunt's listing with these of its mistakes in it."""
    return "\n\n".join(hunting.Hunt(hunt.task, tuple(left), hunt.letter).texts().values())


def number(student):
    """The right answer to 0.2 for a student."""
    task = registry.find("0.2")
    return f"alpha_bar = {task.varies.fields(task, **COURSE.constants(student, '0.2'))['reference']:.6f}"


def mended(nb, text, name="answer-2-2"):
    return answer(nb, text, name)


def told_of(nb):
    return nb["metadata"]["toolkit"]["issued"]


# --- whose it is ----------------------------------------------------------------------------------------


NOBODYS = {"points": {"0.1": 1, "0.2": 0}, "lesson": "00", "issued": "", "says": {"0.2": "not say whom"}}
NOBODYS["changed"] = ("0.2",)  # it has constants, which are nobody's


def solved(nb, student):
    """Lesson 00 with both answers, the number that of a student."""
    return answer(answer(nb, listing(COURSE.hunt(ADA, "0.1")), "answer-0-1"), number(student), "answer-0-2")


@attack("another's tag in the metadata, for another's number", **NOBODYS)
def _(nb, bobs):
    solved(nb, BOB)["metadata"]["toolkit"]["issued"] = told_of(bobs)


@attack("another's cell of the deadline, for another's number", **NOBODYS)
def _(nb, bobs):
    find(solved(nb, BOB), "release")["source"] = find(bobs, "release")["source"]


@attack("one's own tag under another's name", **NOBODYS)
def _(nb, bobs):
    told_of(solved(nb, BOB))["to"] = BOB
    find(nb, "release")["source"] = "".join(find(nb, "release")["source"]).replace(f"`{ADA}`", f"`{BOB}`")


@attack("the tag of last year", **NOBODYS)
def _(nb, bobs):
    solved(nb, ADA)["metadata"]["toolkit"]["issued"] = {"to": ADA, "tag": drawing.tag(LAST_YEARS, ADA)}
    nb["cells"].remove(find(nb, "release"))


@attack("whose it is taken out, for the book's number", **NOBODYS)
def _(nb, bobs):
    nb["metadata"] = {}
    nb["cells"].remove(find(nb, "release"))
    answer(solved(nb, ADA), f"alpha_bar = {registry.find('0.2').reference}", "answer-0-2")


@attack("names and tags of other kinds", **NOBODYS)
def _(nb, bobs):
    solved(nb, ADA)["metadata"]["toolkit"]["issued"] = {"to": ["../ada", "\u202e"], "tag": {"a": 1}}
    find(nb, "release")["source"] = "Issued to `../ada` (" + "0" * 20 + ")\n" * 2000


@attack("thousands of guesses beside the tag", {"0.1": 1, "0.2": 1}, lesson="00")
def _(nb, bobs):
    guesses = "\n".join(f"Issued to `{BOB}` ({n:020x})" for n in range(5000))
    find(solved(nb, ADA), "release")["source"] = guesses


@attack("another's file, whole", {"0.1": 1, "0.2": 1}, lesson="00", issued=BOB)
def _(nb, bobs):
    return answer(
        answer(bobs, listing(COURSE.hunt(BOB, "0.1")), "answer-0-1"), number(BOB), "answer-0-2"
    )  # flagged beside the rest of the class: `issuing.whose`


# --- constants ------------------------------------------------------------------------------------------


NOT_MINE = {"points": {"0.1": 1, "0.2": 0}, "lesson": "00"}
CHANGED = NOT_MINE | {"changed": ("0.2",)}


@attack("the book's constants in the check's call and in the metadata", **CHANGED, says={"0.2": "lambda"})
def _(nb, bobs):
    answer(solved(nb, ADA), f"alpha_bar = {registry.find('0.2').reference}", "answer-0-2")
    nb["metadata"]["toolkit"].pop("varied")
    find(nb, "check-0-2")["source"] = 'from book import check\ncheck("0.2", alpha_bar)'


@attack("another's constants in the check's call and in the metadata", **CHANGED, says={"0.2": "lambda"})
def _(nb, bobs):
    solved(nb, BOB)["metadata"]["toolkit"]["varied"] = bobs["metadata"]["toolkit"]["varied"]
    find(nb, "check-0-2")["source"] = find(bobs, "check-0-2")["source"]


@attack("a number that is close to all", **NOT_MINE, says={"0.2": "lambda"})
def _(nb, bobs):
    close = "class Close(float):\n    __sub__ = __rsub__ = lambda self, other: 0.0\n"
    close += "    __eq__ = __le__ = __lt__ = lambda self, other: True\n    __hash__ = float.__hash__\n"
    answer(solved(nb, ADA), f"{close}alpha_bar = Close(0.7)", "answer-0-2")


# --- hunts ----------------------------------------------------------------------------------------------


@attack("the hunt's cell taken out, and the listing mended", {"2.2": 2})
def _(nb, bobs):
    nb["cells"].remove(find(nb, "hunt-2-2"))
    mended(nb, listing(HUNT))


@attack("a hunt that calls itself done", {"2.2": 0}, says={"2.2": "as it was handed out"})
def _(nb, bobs):
    before(nb, "hunt-2-2", "def hunt(*a, **k): print('2.2 hunt done')\nimport book; book.hunt = hunt")
    find(nb, "hunt-2-2")["source"] = 'hunt("2.2-aaaaaaaa", ddim_terms)'


@attack("another's ticket and another's listing", {"2.2": 0}, says={"2.2": "x_0"})
def _(nb, bobs):
    find(nb, "hunt-2-2")["source"] = find(bobs, "hunt-2-2")["source"]
    mended(nb, listing(BOBS, BOBS.chosen))


@attack("another's listing, half mended", {"2.2": 0})
def _(nb, bobs):
    mended(nb, listing(BOBS, BOBS.chosen[:1]))


@attack("another's listing, mended", {"2.2": 2}, flags={"2.2": f"variables end in _{BOBS.letter}"})
def _(nb, bobs):
    mended(nb, listing(BOBS))


@attack("the book's own", {"2.2": 2}, flags={"2.2": "the book's own"})
def _(nb, bobs):
    mended(nb, next(iter(bugs.texts(registry.find("2.2"), ()).values())))


@attack("the mistakes in another's letters", {"2.2": 0}, says={"2.2": "2 of 2 mistakes are still there"})
def _(nb, bobs):
    mended(nb, listing(replace(HUNT, letter=BOBS.letter), HUNT.chosen))


# --- points in part -------------------------------------------------------------------------------------


PART = {"2.2": "1 of 2 mistakes is still there"}


@attack("half mended", HALF, says={"2.2": "1 point of 2 for what is mended."})
def _(nb, bobs):
    mended(nb, listing(HUNT, HUNT.chosen[:1]))


@attack("the other half mended, below the listing as it was", HALF, says=PART)
def _(nb, bobs):
    after(nb, "answer-2-2", listing(HUNT, HUNT.chosen[1:]))


@attack("all mended, below the listing as it was", {"2.2": 2})
def _(nb, bobs):
    after(nb, "answer-2-2", listing(HUNT))


def _public_only():
    """An answer that is half mended for the inputs that everybody sees, and for no others."""
    seen = []

    def spy(x, *rest):
        seen.append(float(x.reshape(-1)[0]))
        return right(x, *rest)

    task = registry.find("2.2")
    right = task.reference["ddim_terms"] if task.names else task.reference
    for seed in SEEDS:
        diagnose.observe(task, {"ddim_terms": spy} if task.names else spy, seed)
    half = listing(HUNT, HUNT.chosen[:1]).replace("def ddim_terms", "def half")
    return f"SEEN = {sorted(set(seen))!r}\n{half}\n" + (
        "def ddim_terms(x, *rest):\n"
        "    known = min(abs(float(x.reshape(-1)[0]) - one) for one in SEEN) < 1e-12\n"
        "    return half(x, *rest) if known else (x, x, x)\n"
    )


@attack("half mended for the inputs that everybody sees", {"2.2": 0}, says=PART)
def _(nb, bobs):
    mended(nb, _public_only())


@attack("half mended, and by chance", {"2.2": 0})
def _(nb, bobs):
    half = listing(HUNT, HUNT.chosen[:1]).replace("def ddim_terms", "def half")
    chance = "def ddim_terms(*all):\n    return tuple(part + 1e-9 * torch.rand(1) for part in half(*all))"
    mended(nb, f"{half}\n{chance}")


@attack("what a hunt's check would say, sent", {"2.2": 0}, flags={"2.2": "book.grading"})
def _(nb, bobs):
    sends = (
        "import book.grading.kernel_check as inside\nreal = inside._encode\n"
        "inside._encode = lambda told: real(dict(told, left=[], hunt=[], score=2, state='done'))"
    )
    before(mended(nb, listing(HUNT, HUNT.chosen)), "answer-2-2", sends)


@attack("one observation of a half-mended listing for all", {"2.2": 0}, flags={"2.2": "book.grading"})
def _(nb, bobs):
    half = listing(HUNT, HUNT.chosen[:1]).replace("def ddim_terms", "def half")
    sends = (
        f"{half}\nimport book.grading.kernel_check as inside\nreal = inside._observe\n"
        "inside._observe = lambda task, answer, seed, noise=1: real(task, half, 0, 1)"
    )
    before(nb, "answer-2-2", sends)


# --- marks ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def handouts(tmp_path_factory):
    """`handouts(student, lesson)`: the notebook as issued, a new dict."""
    folder = tmp_path_factory.mktemp("attacked")
    more = {"hunts": COURSE.hunts, "vary": True, "key": KEY, "students": (ADA, BOB), "partial": True}
    tasks = [task for every in LESSONS.values() for task in every]
    release(folder / "h", (), tasks=tasks, exercises=marking_lab.ROOT / "exercises", **more)
    return lambda student, lesson: json.loads(
        (folder / "h" / student / record.load(lesson).notebook).read_text("utf8")
    )


@pytest.fixture(scope="module", params=LESSONS)
def marked(request, handouts, tmp_path_factory):
    """{name of an attack on a lesson: (whom it was issued to, its results)}."""
    found, path = {}, tmp_path_factory.mktemp("attacks") / "a.ipynb"
    with marking_lab.marker(request.param, LESSONS[request.param]) as marker:
        of_course = type(marker)(replace(marker.key, course=COURSE), marker.base, marker.box)
        for name, one in ATTACKS.items():
            if one.lesson == request.param:
                mine, bobs = handouts(ADA, one.lesson), handouts(BOB, one.lesson)
                path.write_bytes(corpus.dump(one.make(mine, bobs) or mine))
                results = of_course.mark(read_notebook(path))
                found[name] = of_course.issued, {result.task: result for result in results}
    return found


def test_nothing_is_earned_that_was_not(marked):
    wrong = []
    for name, (issued, results) in marked.items():
        one = ATTACKS[name]
        fine = issued == one.issued and {task: r.score for task, r in results.items()} == one.points
        for task, result in results.items():
            fine &= one.says.get(task, "") in result.sentence
            fine &= ("check cell was changed" in " ".join(result.notes)) == (task in one.changed)
            flags = " ".join(result.flags)
            fine &= one.flags[task] in flags if task in one.flags else not flags
        if not fine:
            told = [(r.task, r.score, r.state, r.sentence, r.flags) for r in results.values()]
            wrong.append(f"{name}, of {issued!r}: {told}")
    assert not wrong, "\n".join(wrong)
