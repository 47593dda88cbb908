"""The organiser's copy of an entry's network: read as numbers, counted, and asked row by row."""

from __future__ import annotations

import base64
import binascii
import json
import math

import numpy as np
import torch

from book.contest.rules import Refused, Rules
from book.grading.text import line
from toolkit.networks import MLP, DigitsMLP, ScaledMLP, TwoTimeMLP, UNet, is_one_number

KINDS = {kind.__name__: kind for kind in (MLP, DigitsMLP, ScaledMLP, TwoTimeMLP, UNet)}
SHAPE, CLASSES = (1, 8, 8), 10
_KEYS = {"width": 1024, "blocks": 32, "condition": 1024, "patch": 8, "channels": 1024}
"""What of a configuration an entry chooses, and the largest value of each."""


def numbers_of(told, dtypes=("float32",), most: int = 2**24, name: str = "numbers") -> torch.Tensor:
    """The tensor that an entry says ([dtype, shape, base64]): one of these dtypes, at most so many elements,
    all finite.  Raises Refused."""
    try:
        dtype, shape, text = told
        shape = [int(side) for side in shape]
        size = math.prod(shape)
        if dtype not in dtypes or len(shape) > 4 or min([1, *shape]) < 0 or size > most:
            raise ValueError
        raw = base64.b64decode(text, validate=True)
        array = np.frombuffer(raw, dtype=dtype).reshape(shape)
    except (TypeError, ValueError, OverflowError, binascii.Error):
        kind = " or ".join(dtypes)
        raise Refused(f"its {name} were not a tensor of {kind} of at most {most:,} elements") from None
    if not np.isfinite(array).all():
        raise Refused(f"its {name} held NaN or infinite values")
    return torch.from_numpy(array.copy())


def read_network(told: dict, source: str, rules: Rules) -> tuple[torch.nn.Module | None, object, int]:
    """(the network or None, the notes, the entry's size) of what training gave back.

    An untrained network of that architecture is made here and filled with the numbers, rounded to float16 on
    their way: there is no place for code, nor for numbers that are not counted.  Raises Refused.
    """
    notes = told.get("notes")
    noted = len(json.dumps(notes).encode()) if notes is not None else 0
    if noted > rules.notes:
        raise Refused(f"its notes have {noted:,} bytes, and {rules.notes:,} are allowed")
    size = len(source.encode()) + noted
    network = None
    if told.get("architecture") is not None:
        kind, config = _declared(told)
        with torch.device("meta"):  # no memory is taken for what may be too large
            size += sum(value.numel() for value in kind(**config).state_dict().values())
    if size > rules.size:
        raise Refused(f"its size is {size:,} (network, source and notes), and {rules.size:,} is allowed")
    if told.get("architecture") is not None:
        network = kind(**config)
        _fill(network, numbers_of(told.get("numbers"), ("float16",), rules.size, "network's numbers"))
    return network, notes, size


def _declared(told: dict):
    """(class, configuration) of the network that training names."""
    name, config = told["architecture"], told.get("config")
    if not isinstance(name, str) or name not in KINDS or not isinstance(config, dict):
        raise Refused(f"its network must be one of {', '.join(KINDS)}, got {name!r:.60}")
    if config.get("shape") != list(SHAPE) or config.get("n_classes") != CLASSES:
        raise Refused("its network must take digits of shape (1, 8, 8) with 10 classes")
    chosen = {key: value for key, value in config.items() if key not in ("shape", "n_classes")}
    for key, value in chosen.items():
        values = value if key == "channels" and isinstance(value, list) else [value]
        whole = all(type(one) is int and 1 <= one <= _KEYS.get(key, 0) for one in values)
        if not whole or not 1 <= len(values) <= 4:
            raise Refused(f"its network's {key!r:.40} is not one that there is: {value!r:.60}")
    config = {"shape": SHAPE, "n_classes": CLASSES} | chosen
    try:
        with torch.device("meta"):
            KINDS[name](**config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Refused(f"its network cannot be built ({line(str(error), 100)})") from None
    return KINDS[name], config


def _fill(network, numbers) -> None:
    state = network.state_dict()
    sizes = [value.numel() for value in state.values()]
    if sum(sizes) != numbers.numel():
        raise Refused(f"its network has {sum(sizes):,} numbers, and it gave {numbers.numel():,}")
    for (key, value), part in zip(state.items(), numbers.flatten().float().split(sizes)):
        state[key] = part.reshape(value.shape)
    network.load_state_dict(state)
    network.eval().requires_grad_(False)


class Oracle:
    """A network that answers questions and counts their rows; `spent` of `allowed` calls.

    network: of `read_network`.  samples, calls: rows allowed are their product.
    """

    def __init__(self, network, samples: int, calls: int):
        self.network, self.samples, self.calls = network, samples, calls
        self.spent, self.allowed = 0, samples * calls

    def answer(self, told: dict) -> torch.Tensor:
        """The network's output (m, 1, 8, 8) for a question.  Raises Refused, for one question too many too.

        Rows are counted before anything is computed.
        """
        if self.network is None:
            raise Refused("its sampler asked for a network, and its training gave none")
        x = numbers_of(told.get("x"), most=self.samples * 64, name="question's x")
        if x.ndim != 4 or x.shape[1:] != SHAPE:
            raise Refused(f"a question's x must have shape (m, 1, 8, 8), got {tuple(x.shape)}")
        self.spent += max(1, len(x))
        if self.spent > self.allowed:
            raise Refused(f"it asked for more than {self.calls} calls a sample")
        return self._evaluated(x, told)

    @torch.no_grad()
    def _evaluated(self, x, told):
        c, label = _column(told.get("c"), x), None
        if "label" in told:
            label = numbers_of(told["label"], ("int64",), len(x), "question's label")
        more = {name: _column(told[name], x).float() for name in told if name not in ("x", "c", "label")}
        try:
            return self.network(x, c, label, **more)
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise Refused(f"its question has no answer ({line(str(error), 100)})") from None


def _column(told, x):
    """(m,) float64; one number for all is expanded, which the networks compute faster."""
    values = numbers_of(told, ("float64",), len(x), "question's times")
    if values.shape != (len(x),):
        raise Refused(f"a question's times must have shape ({len(x)},), got {tuple(values.shape)}")
    same = len(values) > 1 and not is_one_number(values) and bool((values == values[0]).all())
    return values[:1].expand(len(x)) if same else values
