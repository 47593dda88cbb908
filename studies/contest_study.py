"""The contest's baselines, what a source can carry, and what the tests for copies and lists let through:

    python -m studies.contest_study             half an hour of one idle machine
    python -m studies.contest_study full        one part: quick or full

Two tables.  quick: the samplers of the baselines with the networks that ship, which were trained by the same
recipes; eight noises, no training.  full: all baselines as `toolkit contest run` runs them, in the sandbox,
with 90 seconds of training, three trainings each, the same noise for all.  What that scores depends on how
many steps the machine makes in its seconds.

Written to book/ch08/recorded/contest.json."""

import ast
import json
import sys
from dataclasses import replace

import numpy as np
import torch

from book import folders
from book.contest import scoring
from book.contest.commands import FOLDER
from book.contest.inside import loaded
from book.contest.judge import Entry, Judge, read_source
from book.contest.rules import Refused, Rules
from toolkit import EDM, grids, sample
from toolkit.data import digit_labels, digits
from toolkit.files import write_file
from toolkit.metrics import frechet_distance, fresh_distances, nearest_neighbour_ratio
from toolkit.networks import digits_model, pretrained
from toolkit.noise import initial_noise
from toolkit.ode import edm_heun

RECORD = folders.folder("08") / "recorded" / "contest.json"
SEEDS, NOISES = (0, 1, 2), range(8)
BASELINES = (
    *("ddpm", "ddim", "heun", "dpmpp_2m", "ipndm", "learned"),
    *("consistency", "flow_map", "gaussians", "stored"),
)
SHIPPED = dict.fromkeys(("ddpm", "ddim", "heun", "dpmpp_2m", "ipndm"), "digits") | {
    "consistency": "student-consistency",
    "flow_map": "flow-map-meanflow",
    "gaussians": None,
}
ABOUT = "the contest's baselines, what a source can carry, what the tests for copies and lists let through"
LISTS = (500, 2000, 6000)
RANKS = (0, 1, 2, 4, 6, 8, 16)


# --- baselines --------------------------------------------------------------------------------------------


class Sharing(Judge):
    """A judge that trains what is one and the same but once."""

    kept = {}

    def trained(self, entry, seed):
        """As `Judge.trained`."""
        function = next(node for node in ast.parse(entry.source).body if getattr(node, "name", "") == "train")
        key = (ast.unparse(function), seed, self.rules.seconds)
        if key not in self.kept:
            self.kept[key] = (*super().trained(entry, seed), len(entry.source.encode()))
        network, notes, size, source = self.kept[key]
        return network, notes, size + len(entry.source.encode()) - source


def scores(names, seeds):
    """{baseline: {"size", "columns": {calls: scores}}}."""
    rules = replace(Rules(), seeds=len(seeds))
    found = {}
    with Sharing(rules) as judge:
        for name in names:
            entry = Entry(name, read_source(FOLDER / f"{name}.py", rules))
            result = judge.run(entry, print, seeds)
            columns = {str(calls): its for calls, its in result.columns.items()}
            found[name] = {"size": result.size, "columns": columns}
    return found


def shipped(name, network):
    """({calls: distances}, {calls: share that comes again}) of a sampler with a shipped network, on
    the noises of NOISES."""
    rules, inside = Rules(), loaded(read_source(FOLDER / f"{name}.py", Rules()))
    notes, network = None, pretrained(network) if network else None
    if "notes" in inside["train"].__doc__:  # they need no training
        inside["denoiser"] = lambda *_: None
        notes = inside["train"](*digits("train"), 0.0, 0)[1]
    found, again, drawn = {}, {}, []
    for calls in rules.calls:
        found[calls] = []
        for seed in NOISES:
            labels, noise = digit_labels(rules.n, seed), initial_noise(rules.n, (1, 8, 8), seed)
            with torch.no_grad():
                x = inside["sample"](network, noise, labels, calls, notes)
            try:
                found[calls].append(scoring.score(x, labels, rules))
            except Refused as why:
                found[calls].append({"why": str(why)})
            drawn.append(x)
        again[calls] = round(scoring.repeated(*drawn[-2:]), 4)  # of two noises
    return found, again


# --- what a source can carry ------------------------------------------------------------------------------


def gaussians(n, seed=0):
    """{rank: (numbers, Fréchet distance)} of a Gaussian for each class in so many of its directions."""
    images, labels = digits("train")
    rng, wanted, found = np.random.default_rng(seed), digit_labels(n, seed).numpy(), {}
    for rank in RANKS:
        drawn = np.empty((n, 64))
        for digit in range(10):
            x = images[labels == digit].flatten(1).numpy()
            _, widths, directions = np.linalg.svd(x - x.mean(0), full_matrices=False)
            z = rng.standard_normal(((wanted == digit).sum(), rank))
            spread = widths[:rank, None] / np.sqrt(len(x)) * directions[:rank]
            drawn[wanted == digit] = x.mean(0) + z @ spread
        found[rank] = (640 * (1 + rank), judged(drawn))
    return found


def judged(points):
    """{"frechet", "copies", "near"} of images (n, 64), cut to [-1, 1]."""
    images = torch.as_tensor(points, dtype=torch.float32).reshape(-1, 1, 8, 8).clamp(-1, 1)
    return {"frechet": frechet_distance(images)} | scoring.closeness(images)


# --- copies -----------------------------------------------------------------------------------------------


def copied(n, kept=None, seed=0):
    """{what is made of stored digits: its numbers}: copies, copies with noise, midpoints and analogies.

    kept: how many training digits are stored; all unless given."""
    rng = np.random.default_rng(seed)
    images, labels = digits("train")
    rows = rng.permutation(len(images))[:kept]
    x, label = images[rows].flatten(1).numpy(), labels[rows].numpy()
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
    apart[(label[:, None] != label[None]) | np.eye(len(x), dtype=bool)] = np.inf
    order = np.argsort(apart, 1)[:, :20]
    i = rng.integers(len(x), size=n)
    first = rng.integers(0, order.shape[1], n)
    second = (first + rng.integers(1, order.shape[1], n)) % order.shape[1]  # another one
    near, other = x[order[i, first]], x[order[i, second]]
    spacing = apart[i].min(1, keepdims=True)
    unit = lambda v: v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9)  # noqa: E731
    aside = unit(rng.standard_normal((n, 64)))
    return {
        "copies": judged(x[i]),
        "copies and noise, half a spacing": judged(x[i] + 0.5 * spacing * aside),
        "copies and noise, a spacing": judged(x[i] + spacing * aside),
        "midpoints of near digits": judged((x[i] + near) / 2),
        "a digit and a difference of two others": judged(x[i] + spacing * unit(near - other)),
    }


def listed(n, seed=0):
    """{what: its numbers and the share that comes again}: midpoints as the baseline `stored` draws them from
    a memory without fault, anew for each sample; and lists of so many, from which samples are taken."""
    entry, (images, labels) = loaded(read_source(FOLDER / "stored.py", Rules())), digits("train")
    order = labels.argsort(stable=True)
    every, counts = images[order], labels.bincount().tolist()
    recall = lambda x, c, label: every  # noqa: E731 - whoever asks for all gets all
    torch.manual_seed(seed)

    def drawn(m):
        return entry["sample"](recall, initial_noise(m, (1, 8, 8), seed), digit_labels(m, seed), 8, counts)

    both = {"anew for each sample": [drawn(n), drawn(n)]}
    for m in LISTS:
        kept = drawn(m)
        both[f"{m:,} on a list"] = [kept[torch.randint(m, (n,))] for _ in range(2)]
    told = {what: judged(one.flatten(1)) for what, (one, _) in both.items()}
    return {what: told[what] | {"again": scoring.repeated(*batches)} for what, batches in both.items()}


def honest(n, seed=0):
    """{"fresh digits", "the shipped network"}: the shares of digits that nobody trained on, against the
    training digits, and what the shipped network draws in 35 calls."""
    ratio = nearest_neighbour_ratio(digits("test")[0], digits("train")[0])
    fresh = {"copies": float((ratio < 0.5).mean()), "near": float((ratio < 0.7).mean())}
    model = digits_model(EDM(), digit_labels(n, seed))
    x = sample(edm_heun, model, initial_noise(n, (1, 8, 8), seed) * 80, grids.karras(EDM(), 18)).x
    return {"fresh digits": fresh, "the shipped network": judged(x)}


def main():
    """Both parts, or the one that is named, beside what is there."""
    for part in sys.argv[1:] or PARTS:
        made = PARTS[part]()
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        write_file(RECORD, json.dumps(record | made | {"about": ABOUT}, indent=1, default=float) + "\n")


def quick():
    """All but the trainings."""
    n = Rules().n
    floor = fresh_distances(n)
    record = {"n": n, "floor": [floor.mean(), floor.std()], "honest": honest(n), "lists": listed(n)}
    record["gaussians"] = {rank: its | {"numbers": m} for rank, (m, its) in gaussians(n).items()}
    record["copies"] = {"all of them": copied(n), "550 of them": copied(n, 550)}
    made = {name: shipped(name, network) for name, network in SHIPPED.items()}
    record["shipped"] = {name: found for name, (found, _) in made.items()}
    record["again"] = {name: again for name, (_, again) in made.items()}
    return record


PARTS = {"quick": quick, "full": lambda: {"full": scores(BASELINES, SEEDS)}}


if __name__ == "__main__":
    main()
