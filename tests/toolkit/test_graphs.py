"""A run recorded and replayed: on a GPU as one CUDA graph, here as the list of operations that torch does.

The stand-in does what a graph does.  It keeps each operation with the memory that it read and wrote, and
replays them without Python: so whatever depended on a value, a batch or a Python object of the recorded run
would show.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from toolkit import AFS, VP, Guided, Mixture, Network, graphs, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpmpp_2m
from toolkit.networks import DigitsMLP
from toolkit.sampling import every_sampler

REGISTRY = every_sampler()
FIXED = [name for name, solver in REGISTRY.items() if solver.nfe]
COSTLY = {"langevin": {"corrections": 2}}
DIFFERENTIATE = {"implicit_euler", "trapezoid"}  # autograd's own operations are not replayed by the stand-in


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        assert function._schema.name != "aten::_local_scalar_dense", "a run waits for a value"
        self.done.append((function, args, kwargs or {}, result))
        return result


def stand_in(run):
    """`graphs.captured` without a GPU."""
    for _ in range(graphs.RUNS - 1):
        run()
    with Recorder() as recorder:
        result = run()

    def replay():
        for function, args, kwargs, before in recorder.done:
            now = function(*args, **kwargs)
            for old, new in zip(tree_leaves(before), tree_leaves(now), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    return result, replay


@pytest.fixture
def recorded(monkeypatch):
    """sample(…, graph=True) on the CPU, by the stand-in; how often something was recorded."""
    times = []

    def captured(run):
        times.append(run)
        return stand_in(run)

    monkeypatch.setattr(graphs, "captured", captured)
    monkeypatch.setattr("toolkit.sampling._replayed", lambda run, *rest: graphs.Replayed(run))
    return times


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DigitsMLP((2, 1, 2), n_classes=0, width=16, blocks=1, condition=8).eval()
    torch.nn.init.normal_(net.outlet.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return net


def by_label(x, c, label=None):
    """A network of x, time and a class; unlike the shipped ones it does not look at labels on the CPU."""
    label = torch.full((len(x),), 3, device=x.device) if label is None else label
    return torch.tanh(x) + (0.1 * label * c).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("name", [name for name in FIXED if name not in DIFFERENTIATE])
def test_a_recorded_run_replays_other_batches_to_the_last_bit(name, recorded):
    solver, options = REGISTRY[name], COSTLY.get(name, {})
    model, x = Network(network(), VP()), initial_noise(6, (2, 1, 2), seed=3)
    times = grids.uniform(VP(), 5, end=0.1)
    if solver.kind == "inversion":
        x = 0.3 * x
    run = lambda **how: sample(solver, model, x, times, draws=4, batch_size=2, **how, **options)
    plain = run(keep_path=True)
    before = model.nfe
    graph = run(keep_path=True, graph=True)
    assert torch.equal(plain.x, graph.x) and torch.equal(plain.path, graph.path)
    assert plain.nfe == graph.nfe and plain.times == graph.times and len(recorded) == 1
    assert model.nfe - before == before  # warming up is not counted


def test_each_shape_of_a_batch_is_recorded_once(recorded):
    model, x = Network(network(), VP()), initial_noise(7, (2, 1, 2))
    times = grids.uniform(VP(), 4)
    want = sample(dpmpp_2m, model, x, times, batch_size=3).x
    assert torch.equal(sample(dpmpp_2m, model, x, times, batch_size=3, graph=True).x, want)
    assert len(recorded) == 2  # of three rows, and of the one that is left


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model, labels: model.with_label(labels),
        lambda model, labels: model.with_label(2),
        lambda model, labels: Guided(model, labels, 2.0),
        lambda model, labels: AFS(model.with_label(labels), std=0.5),
    ],
)
def test_labels_change_from_batch_to_batch_and_stay_the_caller_s(wrap, recorded):
    labels = torch.tensor([0, 1, 2, 0, 2, 1])
    model, x = wrap(Network(by_label, VP()), labels), initial_noise(6, (2, 1, 2))
    times = grids.uniform(VP(), 4)
    for size in (1, 2, 6):
        want = sample(ddim, model, x, times, batch_size=size).x
        assert torch.equal(sample(ddim, model, x, times, batch_size=size, graph=True).x, want)
    assert labels.tolist() == [0, 1, 2, 0, 2, 1]


def test_weights_that_change_are_seen_by_the_next_run(recorded):
    net = network()
    model, x, times = Network(net, VP()), initial_noise(2, (2, 1, 2)), grids.uniform(VP(), 4)
    first = sample(ddim, model, x, times, graph=True).x
    with torch.no_grad():
        net.outlet.weight.mul_(2)
    second = sample(ddim, model, x, times, graph=True).x
    assert not torch.equal(first, second) and torch.equal(second, sample(ddim, model, x, times).x)


def test_the_stand_in_finds_a_run_that_depends_on_values(recorded):
    """The same test would fail for a network that looks at its input."""

    def looks(x, c):
        return x * 2 if x.sum() > 0 else x

    with pytest.raises(AssertionError, match="waits for a value"):
        sample(ddim, Network(looks, VP()), initial_noise(4, 2), [1.0, 0.5], batch_size=2, graph=True)


def test_a_batch_in_python_would_be_found(recorded):
    """A network that counts its calls in Python answers the second batch as the first."""
    calls = []

    def counts(x, c):
        calls.append(1)
        return x * len(calls)

    model, x, times = Network(counts, VP()), initial_noise(4, 2), [1.0, 0.5]
    plain = sample(ddim, model, x, times, batch_size=2).x
    assert not torch.equal(sample(ddim, model, x, times, batch_size=2, graph=True).x, plain)


@pytest.mark.parametrize("name, says", [("ddim", "the noise is on cpu"), ("rk45", "the noise is on cpu")])
def test_where_there_can_be_no_graph_one_sentence_says_why(name, says):
    model, x = Mixture.ring().model(VP()), initial_noise(2, 2)
    with pytest.raises(ValueError, match=says):
        sample(REGISTRY[name], model, x, [1.0, 0.5], graph=True)


def test_neither_gradients_nor_steps_chosen_on_the_way():
    x = torch.empty(2, 2, device="meta")
    from toolkit.sampling import _replayed

    class OnCuda:
        device = torch.device("cuda")

    with pytest.raises(ValueError, match="keeps no gradients"):
        _replayed(None, ddim, OnCuda, True)
    with pytest.raises(ValueError, match="chooses its own"):
        _replayed(None, REGISTRY["rk45"], OnCuda, False)
    with pytest.raises(ValueError, match="on meta"):
        _replayed(None, ddim, x, False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", FIXED)
def test_one_cuda_graph_gives_the_same_samples(name):
    solver, options = REGISTRY[name], COSTLY.get(name, {})
    model, x = Network(network().cuda(), VP()), initial_noise(6, (2, 1, 2), seed=3, device="cuda")
    times = grids.uniform(VP(), 5, end=0.1)
    run = lambda **how: sample(solver, model, x, times, draws=4, batch_size=2, **how, **options)
    assert torch.allclose(run().x, run(graph=True).x, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_network_that_waits_for_the_device_is_one_sentence():
    model = Network(lambda x, c: x * 2 if x.sum() > 0 else x, VP())
    with pytest.raises(ValueError, match="cannot be one graph"):
        sample(ddim, model, initial_noise(4, 2, device="cuda"), [1.0, 0.5], graph=True)
