"""A whole run, its network's calls included, as one CUDA graph.

A small network's run costs mostly the launching of its kernels, one by one, from Python.  A graph is recorded
once and launches all of them together.  It does the same work on the same memory each time: so a batch is
copied to where the recorded one lay, the noise of all its steps beside it, and what the recording left is
copied out.  Nothing in a loop may wait for the device or depend on values, which holds for every sampler but
those that choose their own steps.
"""

import torch

RUNS = 3  # two that warm up, since libraries allocate on their first calls, and the one that is recorded


class _Held:
    """Noise that lies where a graph looks for it: what `noise` gives a run's sampler, asked once or oftener.
    """

    def __init__(self, noise):
        self.noise, self.asked = noise, []  # (times, tensors), in the order in which the sampler asks

    def begin(self):
        """The same run again: it will ask for the same noise."""
        self._next = iter(list(self.asked))

    def normals(self, x, times):
        held = next(self._next, None)
        if held is None:
            held = list(times), [z.clone() for z in self.noise.normals(x, times)]
            self.asked.append(held)
        return iter(held[1])

    def fill(self, noise, x):
        """The noise of another batch, in the same places."""
        for times, tensors in self.asked:
            for held, z in zip(tensors, noise.normals(x, times), strict=True):
                held.copy_(z)


class Replayed:
    """A run of batches, run(model, x, noise) -> (times, path, x), recorded for each shape of a batch."""

    def __init__(self, run):
        self.run, self.recorded = run, {}

    def __call__(self, model, x, noise):
        if x.shape not in self.recorded:
            self.recorded[x.shape] = _Recorded(self.run, model, x, noise)
        return self.recorded[x.shape](model, x, noise)


class _Recorded:
    """One batch's run, recorded; called with another batch of the same shape, it replays."""

    def __init__(self, run, model, x, noise):
        self.model, self.x, self.noise = model.rows(0, len(x)), x.clone(), _Held(noise)

        def again():
            self.noise.begin()
            return run(self.model, self.x, self.noise)

        before = model.nfe
        self.result, self.replay = captured(again)
        self.calls = (model.nfe - before) // RUNS
        self.model._calls.add(-RUNS * self.calls)

    def __call__(self, model, x, noise):
        """(times, path, x) of this batch, in memory of its own."""
        self.x.copy_(x)
        for held, new in zip(self.model.conditions(), model.conditions(), strict=True):
            held.copy_(new)
        self.noise.fill(noise, x)
        self.replay()
        self.model._calls.add(self.calls)
        times, path, last = self.result
        return times, path if path is None else path.clone(), last.clone()


def captured(run):
    """(what run() returns, replay): run's work on the device, recorded as one graph, and a function that does
    it again.  ValueError where it waits for the device or is no work for a CUDA device.
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(RUNS - 1):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            result = run()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"this run cannot be one graph, since the sampler or its network waits for the device ({reason})"
        ) from error
    return result, graph.replay
