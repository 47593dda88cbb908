"""What `book.lessons.checking` is in a student's kernel at grading: a `check` that observes and sends.

It knows the probes of the tasks and nothing else.  What it sends is believed outside no further than a
student's word: right values for secret seeds are needed to earn anything, and they are not here.  Nothing
that it needs is looked up when it runs, so that an answer that replaces `print`, `json.dumps` or builtins
spoils its own result at most.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from types import SimpleNamespace

from book.grading import call_log, messages
from book.lessons import diagnose
from book.lessons.running import BUDGET, SENT
from book.lessons.task import Remark

_encode, _find = json.JSONEncoder().encode, importlib.import_module
_observe, _pack, _pack_seen = diagnose.observe, messages.pack, messages.pack_seen

_order: dict = {}


def order(**what) -> None:
    """What the next check is to do: token, seeds ([seed, noise] pairs).  Called by the grader only."""
    _order.clear()
    _order.update(what)


class CheckFailed(Exception):
    """What a check raises at home, here for whoever imports it."""


class NotYet(CheckFailed):
    """Never raised here; see `CheckFailed`."""


class NotTried(CheckFailed):
    """Never raised here; see `CheckFailed`."""


def check(task_id: str, *answer, given=None, **answers) -> None:
    """Observe an answer on the seeds ordered and send what was seen.

    given: what a student's own call says of the constants; the grader knows them by the course's key.
    """
    seeds = _order.pop("seeds", None)
    if seeds is None:
        return  # a student's own call, between two checks
    called, told = sorted(call_log.called), {"token": _order.pop("token", ""), "task": task_id}
    call_log.called.clear()
    names, probe = _probes(task_id)
    try:
        given = _given(task_id, names, answer, answers)
        told["answers"] = {name: _pack(one) for name, one in given.items()}
        task = SimpleNamespace(id=task_id, names=names, probe=probe, facts=None)
        for one in given.values():
            call_log.note_answer(one)
        subject = given if names else given[""]
        stub = any(one["is"] == "stub" for one in told["answers"].values())
        if probe is not None and not stub:
            told["seen"] = [_pack_seen(_observe(task, subject, seed, noise)) for seed, noise in seeds]
    except (ValueError, Remark) as error:
        told["error"] = str(error)
    told["inside"] = sorted(call_log.called)
    told["called"] = sorted({*called, *told["inside"]})
    call_log.called.clear()
    text = _encode(told)
    _send(text if len(text) <= messages.LIMIT else _encode(messages.shapes_only(told)))


def _given(task_id, names, answer, answers) -> dict:
    """{name: answer}, '' for the one answer.  Raises ValueError when the call does not fit the task."""
    if not names:
        if len(answer) != 1 or answers:
            raise ValueError(f'check {task_id} takes one answer: check("{task_id}", your_answer)')
        return {"": answer[0]}
    if answer or set(answers) != set(names):
        raise ValueError(f"check {task_id} takes {', '.join(f'{n}=...' for n in names)}")
    return {name: answers[name] for name in names}


def _probes(task_id: str):
    """(names, probe) of a task."""
    lesson = f"{int(task_id.split('.')[0]):02d}"
    return _find(f"book.lessons._probes_{lesson}").PROBES[task_id]


def _send(text: str) -> None:
    _publish(data={SENT: text, "text/plain": ""}, metadata={})


_publish = None


def begin() -> None:
    """Called by the grader in a fresh kernel, before any student's code: hold on to what sends."""
    global _publish
    from IPython import get_ipython

    shell = get_ipython()
    _publish = shell.display_pub.publish
    shell.display_formatter.active_types = ["text/plain"]  # nobody looks at the pictures,
    shell.display_formatter.mimebundle_formatter.enabled = False  # so that none is drawn
    shell.kernel.iopub_thread.schedule(_cut_output)  # a stream's hooks belong to the thread that adds them
    with contextlib.suppress(ImportError):  # processes of its own do not start in here
        _find("joblib").parallel_config(backend="sequential")
    # Where a picture is shown is of no account here, and the reader's own kind may not be installed.
    shell.register_magic_function(lambda line, cell=None: None, "line", "matplotlib")


def _cut_output() -> None:
    """Cut what is printed at once to little more than is kept: a message of tens of megabytes would end the
    connection to the grader, which then could not tell what is the matter.
    """

    def cut(message):
        message["content"]["text"] = message["content"]["text"][: BUDGET + 1]
        return message

    for stream in (sys.stdout, sys.stderr):
        stream.register_hook(cut)


judge = check


def hunt(*_, **__) -> None:
    """What is left of a bug hunt is told at home; here the listing is judged as every answer is."""


def progress(*_, **__) -> None:
    """There is no progress to show while a notebook is graded."""
