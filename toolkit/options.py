"""What an option may be, in one sentence: whole numbers, numbers, one number for each time."""

import inspect
import math
import numbers

import numpy as np
import torch


def _plain(value):
    """A tensor or array of one element as the number that it holds; anything else as it is."""
    single = isinstance(value, (torch.Tensor, np.ndarray)) and math.prod(value.shape) == 1
    return value.item() if single else value


def _shown(value):
    many = isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim
    return f"{type(value).__name__} of shape {tuple(value.shape)}" if many else repr(value)


def whole_number(name, value, least=1):
    """value as an int.  ValueError unless it is a whole number (an int, a float such as 3.0, NumPy's, or a
    tensor of one element) of at least `least`.
    """
    number = _plain(value)
    real = isinstance(number, numbers.Real) and not isinstance(number, (bool, np.bool_))
    if not real or not math.isfinite(number) or number != math.floor(number) or number < least:
        bound = "" if least == -math.inf else f" of at least {least}"
        raise ValueError(f"{name} must be a whole number{bound}, got {_shown(value)}")
    return int(number)


def real_number(name, value):
    """value as a float.  ValueError unless it is a number (also NumPy's, or a tensor of one element) and not
    NaN.
    """
    number = _plain(value)
    if not isinstance(number, numbers.Real) or isinstance(number, (bool, np.bool_)) or math.isnan(number):
        raise ValueError(f"{name} must be a number, got {_shown(value)}")
    return float(number)


def true_or_false(name, value):
    """value as a bool.  ValueError unless it is one (also NumPy's, or a tensor of one element)."""
    if not isinstance(_plain(value), (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {_shown(value)}")
    return bool(value)


def check_choice(name, value, choices):
    """ValueError unless value is one of choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}")


def at_each_time(name, value, times):
    """value at each of times, a tuple of floats: a number, a function of time, or one number for each.

    ValueError for anything else, for NaN and for a negative number.
    """
    if callable(value):
        values = [value(np.float64(t)) for t in times]
    elif isinstance(value, (list, tuple, np.ndarray, torch.Tensor)) and np.ndim(_plain(value)):
        values = list(value)
    else:
        values = [value] * len(times)
    if len(values) != len(times):
        raise ValueError(
            f"{name} must be a number, a function of time, or a list of one number for each of the "
            f"{len(times)} times; got {len(values)} numbers"
        )
    values = tuple(real_number(name, v) for v in values)
    if min(values, default=0) < 0:
        raise ValueError(f"{name} must be a number and not negative, got {min(values):g}")
    return values


def checked(loop, options):
    """The options of a sampling loop, each of the kind that its default is of: a whole number, a number, True
    or False, or a word.  What has another default, and tau, which may change with time, the loop checks.

    ValueError for another kind, TypeError for an option that the loop has not.
    """
    defaults = {p.name: p.default for p in list(inspect.signature(loop).parameters.values())[3:]}
    found = {}
    for name, value in options.items():
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise TypeError(f"{loop.__name__} has no option {name!r}; it has {known}")
        default = defaults[name]
        if name in ("rng", "tau"):
            found[name] = value
        elif isinstance(default, bool):
            found[name] = true_or_false(name, value)
        elif isinstance(default, int):
            found[name] = whole_number(name, value, -math.inf)
        elif isinstance(default, float):
            found[name] = real_number(name, value)
        elif isinstance(default, str) and not isinstance(value, str):
            raise ValueError(f"{name} must be a word, such as {default!r}; got {_shown(value)}")
        else:
            found[name] = value
    return found
