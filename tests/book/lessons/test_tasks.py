"""Every task of every lesson: the right answer passes, each wrong one is rejected with its own sentence.

A new lesson is tested by existing: everything here loops over the registry.  The small lesson of the fixtures
is tested like the book's own, apart from what the book promises of its lessons.
"""

import importlib.util
from functools import partial

import pytest

from book.lessons import KINDS, CheckFailed, NotTried, check, checking, registry
from book.lessons.diagnose import SEEDS, expected, full_answer, mistaken, observe, verdict
from book.lessons.task import Made
from tests.book.lessons import lesson_99
from tests.seeds import seed_of

pytestmark = pytest.mark.usefixtures("lesson99")


def _fixture_tasks():
    spec = importlib.util.spec_from_file_location("tasks_99", lesson_99.FIXTURES / "ch99" / "tasks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.TASKS)


LESSONS = [lesson for lesson in registry.lessons() if registry.folder_of(lesson).parent == registry.HERE]
TASKS = [task for lesson in LESSONS for task in registry.tasks(lesson).values()] + _fixture_tasks()
WRONG = [(task, index) for task in TASKS for index in range(len(task.mistakes))]


def _id(value):
    return getattr(value, "id", None) or str(value)


@pytest.fixture(params=TASKS, ids=_id)
def task(request):
    return request.param


def _made(task, answer):
    """The answer as a student would hand it to the check: (positional, named)."""
    answer = full_answer(task, answer)
    if task.names:
        return (), {
            name: value.make() if isinstance(value, Made) else value for name, value in answer.items()
        }
    return (answer.make() if isinstance(answer, Made) else answer,), {}


def _told(task, mistake):
    """What the check says of a mistake, or ''."""
    positional, named = _made(task, mistake.answer)
    try:
        check(task.id, *positional, **named)
    except CheckFailed as told:
        return str(told)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("task, index", WRONG, ids=_id)
def test_every_mistake_is_rejected_with_its_own_sentence(task, index, monkeypatch, capsys):
    """On the first seed alone, where that tells it from the right answer and from the mistakes before it:
    the others could only set it further apart.  Where it does not, and for one of each task, on all.

    There it runs once as it is handed in, and has to do what it does as it is listed, where it runs with
    another global random state, too."""
    mistake = task.mistakes[index]
    state = "not tried" if mistake.as_given else "not yet"
    wanted = f"{task.id} {state}. {mistake.says}"

    def on_one_seed(task, answer):
        listed = partial(mistaken, task, mistake)
        return verdict(task, listed, observe(task, answer, SEEDS[0]), SEEDS[:1])

    with monkeypatch.context() as patch:
        patch.setattr(checking, "diagnose", on_one_seed)
        if index and _told(task, mistake) == wanted:
            return
    capsys.readouterr()
    assert _told(task, mistake) == wanted
    assert f"{task.id} done" not in capsys.readouterr().out


def test_the_sentences_of_a_task_differ(task):
    said = [mistake.says for mistake in task.mistakes]
    assert len(set(said)) == len(said)
    assert all("\n" not in sentence and len(sentence) <= 400 for sentence in said)


def test_the_right_answer_passes_for_several_seeds(task):
    seeds = (0, *(seed_of(task.id, n) for n in range(2)))

    def look(seed, noise):  # with another noise it runs again, and must give the same to the last bit
        return expected(task, seed) if noise == 1 else observe(task, task.reference, seed, noise)

    found = verdict(task, look, look(0, 1), seeds)
    assert found.state == "done", found.sentence


def test_a_stub_is_not_tried(task):
    with pytest.raises(NotTried):
        check(task.id, **dict.fromkeys(task.names, ...)) if task.names else check(task.id, ...)

    def stub(*args, **kwargs):
        raise NotImplementedError

    if callable(task.reference):
        with pytest.raises(NotTried):
            check(task.id, stub)


def test_the_hints_are_three_and_lead_on(task):
    assert len(task.hints) == 3 and all(len(hint.strip()) >= 10 for hint in task.hints)


@pytest.mark.parametrize("lesson", [lesson for lesson in LESSONS if lesson != "00"])  # 00 is a warm-up
def test_a_lesson_is_what_the_book_promises(lesson):
    tasks = registry.tasks(lesson).values()
    kinds = [task.kind for task in tasks]
    assert 7 <= len(tasks) <= 12
    assert set(kinds) <= set(KINDS) and len(set(kinds)) >= 5
    assert kinds.count("find-the-bug") >= 2
    assert [task.id for task in tasks if len(task.mistakes) < 4] == []
    assert [task.id for task in tasks if not task.ids] == []
