"""The organiser's copy of a network, without a box: what is counted, and what is refused."""

import json

import pytest
import torch

from book.contest.inside import packed
from book.contest.oracle import Oracle, numbers_of, read_network
from book.contest.rules import Refused, Rules
from toolkit.networks import DigitClassifier, DigitsMLP, ToyMLP, TwoTimeMLP, UNet

RULES = Rules()


def handed_over(net, notes=None, **more):
    """What a training sends, after its way through JSON."""
    state = torch.cat([value.reshape(-1) for value in net.state_dict().values()])
    told = {"notes": notes, "architecture": type(net).__name__, "config": net.config}
    return json.loads(json.dumps(told | {"numbers": packed(state, torch.float16)} | more))


def filled(net, seed):
    generator = torch.Generator().manual_seed(seed)
    for value in net.parameters():
        value.data = 0.1 * torch.randn(value.shape, generator=generator, dtype=torch.float32)
    return net


def question(x, c, label=None, **more):
    told = {"x": packed(x), "c": packed(c, torch.float64)}
    told |= {name: packed(value, torch.float64) for name, value in more.items()}
    return told if label is None else told | {"label": packed(label, torch.int64)}


SMALL = {"width": 16, "blocks": 2, "condition": 16}
NETS = {
    "MLP": lambda: DigitsMLP(**SMALL),
    "two times": lambda: TwoTimeMLP((1, 8, 8), 10, **SMALL),
    "U-Net": lambda: UNet(channels=(8, 16), condition=16),
}


@pytest.mark.parametrize("kind", NETS)
def test_it_answers_as_the_network_does_and_is_counted_in_whole(kind, seed):
    net = filled(NETS[kind](), seed).half().float()
    got, notes, size = read_network(handed_over(net, {"a": 1}), "x = 1\n", RULES)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 1, 8, 8, generator=generator, dtype=torch.float32)
    c, label = torch.linspace(-1, 1, 6, dtype=torch.float64), torch.arange(6)
    more = {"gap": c.abs()} if kind == "two times" else {}
    oracle = Oracle(got, 6, 2)
    with torch.no_grad():
        wanted = net(x, c, label, **{name: value.float() for name, value in more.items()})
        torch.testing.assert_close(oracle.answer(question(x, c, label, **more)), wanted, rtol=1e-3, atol=1e-4)
        same = oracle.answer(question(x, torch.full((6,), 0.3, dtype=torch.float64), label))
        torch.testing.assert_close(same, net(x, torch.full((6,), 0.3), label), rtol=1e-3, atol=1e-4)
    assert oracle.spent == oracle.allowed == 12
    assert notes == {"a": 1}
    assert size == sum(p.numel() for p in net.parameters()) + len("x = 1\n") + len('{"a": 1}')


def test_rows_are_what_counts(seed):
    """Calls may be spent unevenly over the samples; one row more than all of them is refused, and so is a
    flood of empty questions."""
    x, c = torch.zeros(8, 1, 8, 8), torch.zeros(8)
    net = DigitsMLP(**SMALL)
    oracle = Oracle(net, 8, 2)
    for rows in (3, 5, 1, 7):
        oracle.answer(question(x[:rows], c[:rows]))
    with pytest.raises(Refused, match="more than 2 calls"):
        oracle.answer(question(x[:1], c[:1]))
    oracle = Oracle(net, 8, 2)
    with pytest.raises(Refused, match="more than 2 calls"):
        for _ in range(17):
            oracle.answer(question(x[:0], c[:0]))
    with pytest.raises(Refused, match="gave none"):
        Oracle(None, 8, 2).answer(question(x, c))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"architecture": "DigitClassifier"}, "must be one of"),
        ({"architecture": ["MLP"]}, "must be one of"),
        ({"config": None}, "must be one of"),
        ({"config": {"shape": [1, 28, 28], "n_classes": 10}}, "shape"),
        ({"config": DigitsMLP(**SMALL).config | {"blocks": 10**9}}, "not one that there is"),
        ({"config": DigitsMLP(**SMALL).config | {"width": True}}, "not one that there is"),
        ({"config": DigitsMLP(**SMALL).config | {"channels": [8, 16]}}, "cannot be built"),
        ({"config": DigitsMLP(**SMALL).config | {"__class__": 3}}, "not one that there is"),
        ({"config": DigitsMLP(**SMALL).config | {"width": 900, "blocks": 30}}, "size is"),
        ({"numbers": None}, "tensor of float16"),
        ({"numbers": ["float16", [3], "AAAAAAAA"]}, "and it gave 3"),
        ({"numbers": ["object", [1], "AAAAAAAAAAA="]}, "tensor of float16"),
        ({"numbers": ["float16", [10**12], ""]}, "tensor of float16"),
        ({"numbers": ["float16", [-1], ""]}, "tensor of float16"),
        ({"notes": "x" * 9000}, "notes have"),
    ],
)
def test_what_is_no_network_is_refused(more, why):
    with pytest.raises(Refused, match=why):
        read_network(handed_over(DigitsMLP(**SMALL), **more), "", RULES)


def test_the_size_allows_the_networks_of_the_book_and_no_more():
    source = "#" * RULES.source
    for net in (DigitsMLP(), TwoTimeMLP((1, 8, 8), 10, 160, 4, 96)):
        read_network(handed_over(net, "x" * 8000), source, RULES)
    with pytest.raises(Refused, match="size is"):
        read_network(handed_over(DigitsMLP(width=176)), source, RULES)
    for net in (DigitClassifier(), ToyMLP()):
        with pytest.raises(Refused):
            read_network(handed_over(net), source, RULES)


@pytest.mark.parametrize(
    "told", [None, 3, [], ["float32", [2], "!!"], ["float32", 2, ""], ["float32", [None], ""]]
)
def test_numbers_that_are_none_are_refused(told):
    with pytest.raises(Refused, match="tensor of float32"):
        numbers_of(told)
    with pytest.raises(Refused, match="NaN or infinite"):
        numbers_of(packed(torch.tensor([1.0, float("inf")])))
