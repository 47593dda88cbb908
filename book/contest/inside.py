"""Runs in the box, beside an entry's code; what it prints is taken for what the entry says.

Tensors travel as [dtype, shape, base64]; a message is the last line that a cell prints.
"""

from __future__ import annotations

import base64
import json
import queue
import threading

import numpy as np
import torch


def packed(x: torch.Tensor, dtype=torch.float32) -> list:
    """A tensor as JSON takes it."""
    array = x.detach().to("cpu", dtype).contiguous().numpy()
    return [str(array.dtype), list(array.shape), base64.b64encode(array.tobytes()).decode()]


def unpacked(told: list) -> torch.Tensor:
    """The tensor that `packed` told."""
    dtype, shape, text = told
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape).copy())


def loaded(source: str) -> dict:
    """The names that an entry's file defines."""
    names = {"__name__": "entry"}
    exec(compile(source, "entry.py", "exec"), names)
    for function in ("train", "sample"):
        if not callable(names.get(function)):
            raise NameError(f"an entry defines train and sample, and there is no {function}")
    return names


def train(source: str, images: list, labels: list, seconds: float, seed: int) -> None:
    """Run the entry's `train` and print its network, and its notes, as a message."""
    made = loaded(source)["train"](unpacked(images), unpacked(labels), seconds, seed)
    network, notes = made if isinstance(made, tuple) else (made, None)
    told = {"notes": notes}
    if network is not None:
        state = [value.detach().reshape(-1) for value in network.state_dict().values()]
        told |= {"architecture": type(network).__name__, "config": network.config}
        told["numbers"] = packed(torch.cat(state), torch.float16)
    print("\n" + json.dumps(told), flush=True)


class Asked:
    """The network, as a sampler has it: a call is a question to the organiser, whose answer it returns.

    network(x, c, label=None, gap=..., scale=...): x (m, 1, 8, 8), c (m,), label (m,) or None; each of the m
    rows counts as one call.
    """

    def __init__(self):
        self.questions, self.answers, self.one = queue.Queue(), queue.Queue(), threading.Lock()

    def __call__(self, x, c, label=None, **more):
        told = {"x": packed(x), "c": packed(torch.as_tensor(c).expand(len(x)), torch.float64)}
        if label is not None:
            told["label"] = packed(torch.as_tensor(label).expand(len(x)), torch.int64)
        for name, value in more.items():
            told[name] = packed(torch.as_tensor(value).expand(len(x)), torch.float64)
        with self.one:
            self.questions.put(json.dumps(told))
            answer = self.answers.get()
        return answer.to(x.dtype)


_asked = Asked()


def begin(source: str, noise: list, labels: list, calls: int, notes) -> None:
    """Start the entry's `sample`, and print its first question, or its images."""

    def work():
        try:
            with torch.no_grad():
                images = loaded(source)["sample"](_asked, unpacked(noise), unpacked(labels), calls, notes)
            said = json.dumps({"images": packed(torch.as_tensor(images))})
        except BaseException as error:
            said = json.dumps({"error": f"{type(error).__name__}: {error}"[:300]})
        _asked.questions.put(said)

    threading.Thread(target=work, daemon=True).start()
    following()


def answer(told: list) -> None:
    """Give the sampler its answer, and print what it says next."""
    _asked.answers.put(unpacked(told))
    following()


def following() -> None:
    """Print the next question, or the images at the end."""
    print("\n" + _asked.questions.get(), flush=True)
