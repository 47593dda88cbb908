"""Tell what is wrong with an answer from what it does: run it, compare, name the mistake.

An answer is *observed* on probe inputs made from a seed; what was seen (values, an error, an input changed in
place) is compared with what the reference does, and then with what each known wrong answer does, for several
seeds.  The text of an answer is never looked at.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import linecache
import random
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from book.lessons import edits
from book.lessons.probes import describe
from book.lessons.task import Made, Mistake, Remark, Task, is_stub

SEEDS = (0, 1, 2)
"""The public seeds; the values of the first are printed by a check."""

DONE, NOT_YET, NOT_TRIED = "done", "not yet", "not tried"

_OURS = str(Path(__file__).parents[1])
_PRINT_LIMIT = 2000


@dataclass
class Seen:
    """What an answer did on one seed."""

    values: dict[str, Any] | None = None
    trouble: str = ""  # the kind of error: '', 'stub', 'say', 'raises', 'signature', 'type'
    text: str = ""  # the sentence for it
    error: tuple[str, str] = ("", "")  # the exception's type and message
    changed: str = ""  # the argument that the answer changed in place
    returned: str = ""  # what the answer's first call returned, in words
    dtype: str = ""
    printed: str = ""


@dataclass(frozen=True)
class Verdict:
    """The result of a check: state, the sentence to say, the values seen, and which mistake it was.

    With DONE the sentence is empty, or a remark on how the answer differs from the statement's form.
    """

    state: str
    sentence: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    printed: str = ""
    kind: str = ""
    mistake: int | None = None


class _Stub(Exception):
    """The answer is still the `...` that the exercise hands out."""


# --- observing ------------------------------------------------------------------------------------------


class _Limited(io.TextIOBase):
    """A text stream that keeps the first characters written and drops the rest, so that no answer can flood
    us.
    """

    def __init__(self, limit):
        self.parts, self.left = [], limit

    def write(self, text):
        self.parts.append(text[: self.left])
        self.left = max(0, self.left - len(text))
        return len(text)


def _copy(value):
    """A copy to compare with later, of an array or tensor; None for anything else."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if hasattr(value, "detach") and hasattr(value, "clone"):
        return value.detach().clone()
    return None


def _equal(now, before) -> bool:
    if isinstance(now, np.ndarray):
        return now.shape == before.shape and np.array_equal(now, before, equal_nan=True)
    return now.shape == before.shape and bool(((now == before) | ((now != now) & (before != before))).all())


def _watched(answer, seen: Seen):
    """The answer, if it is a function, with an eye on how it is called, what it returns and what it
    changes.
    """
    if not (inspect.isroutine(answer) or isinstance(answer, functools.partial)):
        return answer
    name = getattr(answer, "__name__", "your function")
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):
        signature = None

    def look(inputs, result):
        for label, value, before in inputs:
            if not _equal(value, before):
                seen.changed = seen.changed or label
        if not seen.returned:
            seen.returned, seen.dtype = describe(result), str(getattr(result, "dtype", ""))
        return result

    def steps(inputs, generator):
        for value in generator:
            look(inputs, value)
            yield value
        look(inputs, None)

    @functools.wraps(answer)
    def call(*args, **kwargs):
        try:
            bound = signature.bind(*args, **kwargs).arguments if signature else {}
        except TypeError:
            given = [describe(a).removeprefix("the number ") for a in args]
            given += [f"{key} = {describe(a).removeprefix('the number ')}" for key, a in kwargs.items()]
            raise _Signature(
                f"The check calls {name}({', '.join(given)}), and yours takes {signature}: "
                "keep the parameters that the exercise gave."
            ) from None
        inputs = [(k, v, _copy(v)) for k, v in bound.items() if _copy(v) is not None]
        result = answer(*args, **kwargs)
        return steps(inputs, result) if inspect.isgenerator(result) else look(inputs, result)

    return call


class _Signature(TypeError):
    """The answer cannot be called as the check calls it."""


@contextlib.contextmanager
def _global_noise(seed: int):
    """Set every global random state from the seed, and put the student's own states back afterwards."""
    torch = sys.modules.get("torch")
    states = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None
    random.seed(seed)
    np.random.seed(seed)
    if torch:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if torch and states[2] is not None:
            torch.set_rng_state(states[2])


def _values(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Probe values as float64 arrays and strings.  Raises Remark for what is neither."""
    out = {}
    for label, value in raw.items():
        if isinstance(value, str):
            out[label] = value
            continue
        try:
            out[label] = np.asarray(plain(value), dtype=float)
        except (TypeError, ValueError):
            raise Remark(f"What should {label} be? Yours is {describe(value)}.") from None
    return out


def plain(value):
    """Tensors (also in lists and tuples) as numpy arrays.

    Raises TypeError for None, which numpy takes for nan.
    """
    if value is None:
        raise TypeError("None")
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return (value.double() if value.is_floating_point() else value).numpy()
    return value


def observe(task: Task, answer, seed: int, noise: int = 1) -> Seen:
    """Run the task's probe and facts on an answer and tell what was seen; its errors are told, never raised.

    answer: one answer, or a dict of named ones.  noise: the seed of the global random states meanwhile.
    """
    seen = Seen()
    answers = answer if task.names else {"": answer}
    answers = {k: (v.make() if isinstance(v, Made) else v) for k, v in answers.items()}
    if any(v is ... or v is NotImplemented for v in answers.values()):
        return Seen(trouble="stub")
    watched = {key: _watched(value, seen) for key, value in answers.items()}
    subject = SimpleNamespace(**watched) if task.names else watched[""]
    out = _Limited(_PRINT_LIMIT)
    try:
        with (
            _global_noise(noise),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(_Limited(0)),
        ):
            warnings.simplefilter("ignore")
            parts = [_values(part(subject, seed)) for part in (task.probe, task.facts) if part]
            seen.values = dict(item for values in parts for item in values.items())
    except NotImplementedError as error:
        if is_stub(str(error)):
            seen.trouble = "stub"
        else:
            _tell_error(seen, error, answers)
    except Remark as told:
        seen.trouble, seen.text = "say", str(told)
        seen.error = ("Remark", str(told))
    except _Signature as told:
        seen.trouble, seen.text = "signature", str(told)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: an answer must not end the check
        _tell_error(seen, error, answers)
    seen.printed = "".join(out.parts)
    return seen


def _tell_error(seen: Seen, error: BaseException, answers: Mapping[str, Any]) -> None:
    """Write into `seen` the one sentence for an exception: the answer's own line, or what the answer
    returned.
    """
    kind, message = type(error).__name__, (str(error).splitlines() or [""])[0][:200]
    seen.error = (kind, message)
    said = f"{kind}: {message}" if message else kind
    own = {c.co_filename for a in answers.values() if (c := getattr(inspect.unwrap(a), "__code__", None))}
    frame, trace = None, error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename in own or is_cell(code.co_filename):
            frame = (
                code.co_name,
                trace.tb_lineno,
                linecache.getline(code.co_filename, trace.tb_lineno).strip(),
            )
        trace = trace.tb_next
    if frame:
        name, line, source = frame
        quoted = f", `{source[:80]}`," if source else ""
        seen.trouble, seen.text = "raises", f"{name} stops at line {line} of its cell{quoted} with {said}."
    elif seen.returned:
        seen.trouble = "type"
        seen.text = f"The check cannot use what your answer returns, {seen.returned} ({said})."
    else:
        given = ", ".join(describe(a) for a in answers.values())
        if "not callable" in message and not all(callable(a) for a in answers.values()):
            said = "it is called like a function; give the function itself, without calling it"
        seen.trouble, seen.text = "type", f"The check cannot use your answer, {given} ({said})."


def is_cell(filename: str) -> bool:
    """Whether code of this file name was typed into a notebook or a console."""
    return "ipykernel_" in filename or filename.startswith(("<ipython-input", "<stdin"))


# --- comparing ------------------------------------------------------------------------------------------


def same_value(mine, right, tolerance: float, nan_too: bool = False) -> bool:
    """Whether two probe values agree: strings by equality, arrays by shape and |a - b| <= tolerance (1 +
    |b|).
    """
    if isinstance(mine, str) or isinstance(right, str):
        return isinstance(mine, str) and isinstance(right, str) and mine == right
    return mine.shape == right.shape and bool(
        np.allclose(mine, right, rtol=tolerance, atol=tolerance, equal_nan=nan_too)
    )


def same_values(mine, right, tolerance: float, nan_too: bool = False) -> bool:
    """Whether two sets of probe values agree, labels included."""
    return mine.keys() == right.keys() and all(
        same_value(mine[k], right[k], tolerance, nan_too) for k in right
    )


def _same_seen(a: Seen, b: Seen, tolerance: float, but: Collection[str] = ()) -> bool:
    """Whether two answers did the same: the same values, those of the labels `but` apart, or the same error;
    the same input changed."""
    if a.changed != b.changed:
        return False
    if a.values is None or b.values is None:
        return a.values is b.values and a.trouble == b.trouble and a.error == b.error
    mine, theirs = ({k: v for k, v in seen.values.items() if k not in but} for seen in (a, b))
    return same_values(mine, theirs, tolerance, nan_too=True)


@functools.lru_cache(maxsize=512)
def expected(task: Task, seed: int) -> Seen:
    """What the reference does on this seed.  Raises ValueError when the reference itself stops or changes its
    input.
    """
    seen = observe(task, task.reference, seed)
    if seen.values is None:
        raise ValueError(f"task {task.id}: the reference itself stops: {seen.text or 'it is a stub'}")
    if seen.changed:
        raise ValueError(f"task {task.id}: the reference changes its input {seen.changed} in place")
    return seen


def full_answer(task: Task, answer):
    """A mistake's answer, completed from the reference where the task has several named answers.

    A function alone stands for the answer of its name.  As in a student's notebook, a right function that
    calls a wrong one by its name calls that one.
    """
    if not task.names:
        return answer
    right = task.reference
    called = {name: one.__name__ for name, one in right.items() if _top_level(one)}
    if not isinstance(answer, Mapping):
        answer = {name: answer for name, own in called.items() if own == answer.__name__}
    wrong = {called[name]: one for name, one in answer.items() if name in called and callable(one)}
    return {name: answer[name] if name in answer else _among(wrong, right[name]) for name in task.names}


def _among(others: Mapping[str, Any], answer):
    """An answer as it is among these functions: it calls them, where it reads their names."""
    used = {name: one for name, one in others.items() if _top_level(answer) and edits.reads(answer, name)}
    return edits.changed(answer, **used) if used else answer


def _top_level(answer) -> bool:
    """Whether an answer is a function that a module defines by a statement of its own."""
    return inspect.isfunction(answer) and answer.__name__ == answer.__qualname__ != "<lambda>"


Look = Callable[[int, int], Seen]
"""`look(seed, noise)`: what an answer did on this seed, with the global random states set to `noise`."""


@functools.lru_cache(maxsize=4096)
def mistaken(task: Task, mistake: Mistake, seed: int, noise: int) -> Seen:
    """What a listed mistake does; kept, since a class is held against the same ones over and over."""
    return observe(task, full_answer(task, mistake.answer), seed, noise)


def _matches(task: Task, mistake: Mistake, look: Look, seeds, but: Collection[str] = ()) -> bool:
    """Whether an answer does what this mistake does, for every seed and two global random states, the values
    of the labels `but` apart."""

    def same(at):
        seen, wrong = look(*at), mistaken(task, mistake, *at)
        return _same_seen(seen, wrong, task.tolerance, {*but, *_written_down(task, seen, wrong)})

    return all(map(same, [(seeds[0], 1), (seeds[0], 2), *((seed, 1) for seed in seeds[1:])]))


def _written_down(task: Task, seen: Seen, wrong: Seen) -> Iterator[str]:
    """The task's numbers that are those of a mistake as a student writes them down: rounded, to three digits
    or more."""
    for name in task.names if seen.values and wrong.values else ():
        mine, theirs = (one.values.get(name, "") for one in (seen, wrong))
        if isinstance(mine, str) or isinstance(theirs, str) or mine.ndim or not np.isfinite(mine):
            continue
        digits = len(Decimal(repr(float(mine))).normalize().as_tuple().digits)
        if digits >= 3 and float(f"{float(theirs):.{digits - 1}e}") == mine:
            yield name


def _follows(task: Task, mistake: Mistake, seed: int) -> set[str]:
    """The labels that may be wrong because of this mistake: where nothing but functions is wrong, those of
    all numbers and words, since a student measures them with these functions; none where the mistake shows in
    nothing else."""
    wrong = mistake.answer.values() if isinstance(mistake.answer, Mapping) else [mistake.answer]
    names = set(task.names) if all(map(callable, wrong)) else set()
    shows = not _same_seen(mistaken(task, mistake, seed, 1), expected(task, seed), task.tolerance, names)
    return names if shows else set()


def _wrong(task: Task, seen: Seen, wanted: Seen) -> list[str]:
    """The labels under which values are not those wanted, in the order of the task's."""
    values = {} if seen.values is None else seen.values
    wide = task.tolerance_of
    return [k for k, v in wanted.values.items() if k not in values or not same_value(values[k], v, wide(k))]


def _part(task: Task, look: Look, seeds) -> int | None:
    """The mistake that explains the first wrong value of an answer which is wrong in something else besides:
    under all labels where the mistake is wrong, the answer gives what the mistake gives, for every seed.  Of
    several the one that explains most; None where none does."""
    found: dict[int, int] = {}
    for index, mistake in enumerate(task.mistakes):
        count = 0 if mistake.as_given else _explained(task, mistake, look, seeds)
        if count:
            found[index] = count
    return max(found, key=found.get) if found else None


def _explained(task: Task, mistake: Mistake, look: Look, seeds) -> int:
    """How many of an answer's values a mistake explains on all seeds; 0 where it does not explain it."""
    count = 0
    for seed in seeds:
        seen, theirs, wanted = look(seed, 1), mistaken(task, mistake, seed, 1), expected(task, seed)
        if seen.values is None or theirs.values is None or theirs.changed:
            return 0
        labels, first = _wrong(task, theirs, wanted), _wrong(task, seen, wanted)[:1]
        alike = (
            k in seen.values
            and k in theirs.values
            and same_value(seen.values[k], theirs.values[k], task.tolerance, nan_too=True)
            for k in labels
        )
        if not set(first) <= set(labels) or not all(alike):
            return 0
        count += len(labels)
    return count


# --- the verdict ----------------------------------------------------------------------------------------


def diagnose(task: Task, answer, seeds=SEEDS) -> Verdict:
    """Check an answer: done, not yet (with the sentence to say) or not tried.

    answer: the answer, or a dict of named ones when the task has names.
    """
    if task.names:
        if not isinstance(answer, Mapping) or set(answer) != set(task.names):
            got = ", ".join(answer) if isinstance(answer, Mapping) else describe(answer)
            raise ValueError(f"check {task.id} takes {', '.join(f'{n}=...' for n in task.names)}; got {got}")
    first = observe(task, answer, seeds[0])
    return verdict(task, lambda seed, noise: observe(task, answer, seed, noise), first, seeds)


def verdict(task: Task, look: Look, first: Seen, seeds=SEEDS) -> Verdict:
    """The verdict on an answer from what it does, wherever it was run.

    look: asked for what is needed besides; first: what it did on the first seed.
    """
    values, printed = first.values or {}, first.printed
    if first.trouble == "stub":
        return Verdict(NOT_TRIED, "It is still the stub: replace it with your answer.", printed=printed)

    if first.values is None and (why := _unsound(task, seeds[0])):
        return Verdict(NOT_YET, why, printed=printed, kind="unsound")

    @functools.cache  # an answer may take its time, and is asked for the same once
    def kept(seed, noise):
        return first if (seed, noise) == (seeds[0], 1) else look(seed, noise)

    if (
        first.values is not None
        and steady(first, kept(seeds[0], 2))
        and all(right(task, kept(seed, 1), expected(task, seed)) for seed in seeds)
    ):
        return _done(task, first, expected(task, seeds[0]), printed)
    for index, mistake in enumerate(task.mistakes):
        if _matches(task, mistake, kept, seeds):
            if mistake.as_given:
                return Verdict(NOT_TRIED, mistake.says, values, printed, "as given", index)
            return Verdict(NOT_YET, mistake.says, values, printed, "mistake", index)
    for index, mistake in enumerate(task.mistakes):
        but = _follows(task, mistake, seeds[0])
        if but and _matches(task, mistake, kept, seeds, but):
            return Verdict(NOT_YET, mistake.says, values, printed, "mistake", index)
    noisy = kept(seeds[0], 2) if first.values is not None else first
    if steady(first, noisy) and (part := _part(task, kept, seeds)) is not None:
        return Verdict(NOT_YET, task.mistakes[part].says, values, printed, "mistake", part)
    kind, sentence = _generic(task, look, first, noisy, seeds)
    return Verdict(NOT_YET, sentence, values, printed, kind)


def _unsound(task: Task, seed: int) -> str:
    """Why a check cannot judge here, or '': the right answer stops too, and so would every listed mistake."""
    try:
        expected(task, seed)
    except ValueError as error:
        names = [f"{name}.py" for name in _PACKAGES if Path(f"{name}.py").is_file()]
        if names:
            return (
                f"Python takes your {names[0]}, which lies beside the notebook, for the package: "
                "rename it, and restart the kernel."
            )
        return f"The check cannot judge here: {error}"
    return ""


_PACKAGES = ("torch", "numpy", "scipy", "sympy", "matplotlib", "sklearn")


def steady(seen: Seen, again: Seen) -> bool:
    """Whether an answer leaves its inputs as they are and does the same under other global random states."""
    return seen.values is not None and not seen.changed and _same_seen(seen, again, 0.0)


def right(task: Task, seen: Seen, wanted: Seen) -> bool:
    """Whether an answer gives the values wanted, within the task's tolerance."""
    return (
        seen.values is not None
        and seen.values.keys() == wanted.values.keys()
        and all(same_value(seen.values[k], wanted.values[k], task.tolerance_of(k)) for k in wanted.values)
    )


def _done(task: Task, seen: Seen, wanted: Seen, printed: str) -> Verdict:
    """The verdict on a right answer.  A value that need not be the statement's is told in words, so that what
    is printed is the same for every right answer."""
    other = [k for k in task.loose if not same_value(seen.values[k], wanted.values[k], task.tolerance)]
    near = dict.fromkeys(task.loose, "near the statement's")
    return Verdict(DONE, task.loose[other[0]][1] if other else "", {**seen.values, **near}, printed)


_MEMORY = (
    "The same call gives another result the second time: what does your answer keep between "
    "calls (a global list, a default argument that is changed, a generator that runs on)?"
)


def _generic(task: Task, look: Look, first: Seen, noisy: Seen, seeds) -> tuple[str, str]:
    """(kind, sentence) for an answer that is wrong in a way that no listed mistake describes."""
    if first.values is None:
        return first.trouble, first.text
    if not _same_seen(first, noisy, 0.0):
        if not _same_seen(first, look(seeds[0], 1), 0.0):
            return "memory", _MEMORY
        return "global noise", (
            "Your answer draws from the global random state, so that it changes with every run: "
            "which noise or generator was it given to use?"
        )
    if first.changed:
        return "in place", (
            f"Your answer changes its input {first.changed} in place (as += does): the caller still needs "
            "it, so work on a new tensor."
        )
    for seed in seeds:
        seen = first if seed == seeds[0] else look(seed, 1)
        if seen.values is None:
            return seen.trouble, seen.text
        if not right(task, seen, expected(task, seed)):
            return _difference(task, seen, expected(task, seed))
    return "memory", _MEMORY  # wrong a moment ago, and right now


def _difference(task: Task, seen: Seen, right: Seen) -> tuple[str, str]:
    """(kind, sentence) about values that differ: not finite, wrong shape, a pattern, or the first that
    differs.
    """
    mine, theirs = seen.values, right.values
    if mine.keys() != theirs.keys():
        missing = [k for k in theirs if k not in mine] or [k for k in mine if k not in theirs]
        return (
            "labels",
            f"What about {missing[0]}? Your answer {'lacks' if missing[0] in theirs else 'adds'} it.",
        )
    wrong = [k for k in theirs if not same_value(mine[k], theirs[k], task.tolerance_of(k))]
    label = wrong[0]
    a, b = mine[label], theirs[label]
    for key in wrong:
        if key in task.names and key != label:
            continue  # a number that was measured with a function: what is wrong there comes first
        if not isinstance(mine[key], str) and not isinstance(theirs[key], str):
            bad = ~np.isfinite(mine[key])
            if bad.any() and np.isfinite(theirs[key]).all():
                what = "nan" if np.isnan(mine[key]).any() else "inf"
                return "nan", (
                    f"{_at(key, bad)} is {what} ({int(bad.sum())} of {bad.size}): "
                    "is there a division by zero, or the root or logarithm of a negative number?"
                )
    if isinstance(a, str) or isinstance(b, str):
        shown = repr(a) if isinstance(a, str) else describe(a)
        return "value", task.asks.get(label) or f"What should {label} be? Yours is {shown}."
    if a.shape != b.shape:
        return "shape", (f"What shape should {label} have? Yours is {_shape(a)}, and {_shape(b)} is needed.")
    if seen.dtype and right.dtype and seen.dtype != right.dtype and np.allclose(a, b, rtol=1e-3, atol=1e-3):
        return "dtype", (
            f"Your answer returns {seen.dtype} where {right.dtype} is needed: where is the precision lost?"
        )
    wide = task.tolerance_of(label)
    far = ~np.isclose(a, b, rtol=wide, atol=wide)
    if label in task.asks:
        return "value", task.asks[label].replace("{value}", f"{a[far].flat[0]:.4g}")
    pattern = _pattern(mine, theirs, wrong, task.tolerance)
    if pattern:
        return "pattern", pattern
    agree = len(theirs) - len(wrong)
    verb = "agrees" if agree == 1 else "agree"
    also = f" {agree} of the {len(theirs)} things checked {verb} already." if agree else ""
    return "value", f"What should {_at(label, far)} be? Yours gives {a[far].flat[0]:.6g}.{also}"


def _at(label: str, where: np.ndarray) -> str:
    """A label with the index of the first place that is marked: 'x at eta = 0, entry [0, 2],'."""
    if where.ndim == 0:
        return label
    index = ", ".join(str(int(i)) for i in np.argwhere(where)[0])
    return f"{label}, entry [{index}],"


def _shape(array: np.ndarray) -> str:
    return "a single number" if array.ndim == 0 else f"{array.shape}"


_FACTOR = "Every wrong value is off by one and the same factor: which constant is missing or too much?"


def _pattern(mine, theirs, wrong, tolerance) -> str:
    """A sentence for differences that follow one rule over all numbers (sign, factor, offset, order), else
    ''.
    """
    a = np.concatenate([mine[k].ravel() for k in wrong if not isinstance(mine[k], str)])
    b = np.concatenate([theirs[k].ravel() for k in wrong if not isinstance(theirs[k], str)])
    if a.shape != b.shape or len(b) < 3 or np.ptp(b) < 1e-3 * (1 + np.abs(b).max()):
        return ""
    close = functools.partial(np.allclose, rtol=max(tolerance, 1e-9), atol=max(tolerance, 1e-9))
    if close(a, -b):
        return "Every wrong value has the right size and the opposite sign: where does a sign turn round?"
    if all(
        mine[k].ndim and close(mine[k][::-1], theirs[k]) for k in wrong if mine[k].shape == theirs[k].shape
    ):
        return "The values are right but in the opposite order: which end comes first?"
    if np.abs(b).min() > 1e-9 and np.ptp(a / b) < 1e-6 * np.abs(a / b).max():
        return _FACTOR
    if np.ptp(a - b) < 1e-6 * (1 + np.abs(b).max()) and np.abs(a - b).max() > tolerance:
        if all(label.startswith("log10 of") for label in wrong):
            return _FACTOR
        return "Every wrong value is off by one and the same amount: which term is missing or too much?"
    return ""


# --- printing -------------------------------------------------------------------------------------------


def lines(task: Task, values: Mapping[str, Any]) -> list[str]:
    """The labelled lines that a check prints: '2.3  x at eta = 0 [0, 1]  +0.123456'."""
    shown = rows(task, values)
    width = max((len(label) for label, _ in shown), default=0)
    return [f"{task.id}  {label:<{width}}  {text}" for label, text in shown]


def rows(task: Task, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, text) of the lines that a check prints.

    Arrays of more than four entries are shown by their first and last entry and their root mean square.
    """
    rows: list[tuple[str, str]] = []
    for label, value in values.items():
        if isinstance(value, str):
            rows.append((label, value))
        elif value.size == 0:
            rows.append((label, f"no numbers, shape {value.shape}"))
        elif value.size <= 4:
            for index in np.ndindex(value.shape):
                place = f" [{', '.join(map(str, index))}]" if index else ""
                rows.append((label + place, _number(value[index], task.decimals)))
        else:
            rows.append((f"{label}, first", _number(value.flat[0], task.decimals)))
            rows.append((f"{label}, last", _number(value.flat[-1], task.decimals)))
            with np.errstate(all="ignore"):  # the square of a number may be too large for a float
                rows.append((f"{label}, rms", _number(np.sqrt(np.mean(value**2)), task.decimals)))
    return rows


def _number(value, decimals: int) -> str:
    """Fixed decimals, never '-0.000'; exponents only for what would be too long."""
    value = float(value)
    if not np.isfinite(value):
        return f"{value}"
    shown = round(value, decimals) + 0.0
    return f"{shown:.{decimals}f}" if abs(value) < 1e6 else f"{value:.{decimals}e}"
