"""What the options of a student's loss do, measured with a small network on a ring of eight Gaussians, where
the right answer is known for each noise: `python -m studies.student_options` (some minutes of one core)
writes book/ch05/recorded/student_options.json, which chapter 5 reads."""

import json
import time
from functools import cache, partial

import torch

from benchmarks.__main__ import machine
from book import folders
from book.ch05.experiments import contrast, without_modes
from toolkit import EDM, Mixture, distilled, grids, initial_noise, sample
from toolkit.distill import ConsistencyModel, train_consistency
from toolkit.networks import ToyMLP
from toolkit.ode import edm_heun

RESULT = folders.folder("05") / "recorded" / "student_options.json"
RING, SCHEDULE = Mixture.ring(8, std=0.1), EDM()
SIGMA_DATA, SEEDS, POINTS = 0.71, (0, 1, 2), 1000

_distilled = partial(train_consistency, teacher=RING.model(SCHEDULE), levels=(18, 18), log_level=(0.0, 2.0))
_trained = partial(train_consistency, levels=(40, 40), log_level=(-0.5, 1.6))
CONSISTENCY = {
    "CD, weight 1/σ²+1/d²": partial(_distilled, weighting="snr+1"),
    "CD, uniform weight": partial(_distilled, weighting="uniform"),
    "CD, uniform weight, pseudo-Huber": partial(_distilled, weighting="uniform", metric="huber"),
    "CT, weight 1/σ²+1/d²": partial(_trained, weighting="snr+1"),
    "CT, pseudo-Huber, weight 1/gap": partial(_trained, weighting="1/gap", metric="huber"),
    "CT, target averaged": partial(_trained, weighting="snr+1", target="average"),
    "CT, gradient through": partial(_trained, weighting="snr+1", target="student"),
    "CT, noise drawn twice": partial(_trained, weighting="snr+1", shared_noise=False),
}
LONGER = ("CT, weight 1/σ²+1/d²", "CT, target averaged", "CT, gradient through", "CT, noise drawn twice")
LEVELS = (80, 640)  # at the last step of consistency training
ABOUT = {
    "what": "rms: distance to the exact end of the trajectory of the same noise, root mean square; "
    "between: share, "
    "in %, of samples farther than three deviations from every mode (1.1 for the data, 28 for a ring without "
    "modes); modes: modes with at least half of their share of the samples (8 for a ring without modes, "
    "too); "
    "contrast: samples in the eight sectors around the modes over those in the eight sectors between",
    "scale": "its two ends: a ring without modes, and the flow's own points",
    "consistency": "300 steps of 128 samples, a ToyMLP of width 64, no teacher's weights to start from",
    "longer": "four of the rows of consistency, 2000 steps",
    "levels": "the recipe of the ring's student of consistency training with 10 levels at the first step, by "
    "those at the last",
    "seconds a call": "of the digits' network, a sample, one core, batches of 1000: the best of 20",
}


@cache
def ends(n, seed, steps=200):
    """(noise, ends) (n, 2): noise at level 80, and where the flow takes it."""
    noise = initial_noise(n, 2, seed) * SCHEDULE.start
    return noise, sample(edm_heun, RING.model(SCHEDULE), noise, grids.karras(SCHEDULE, steps)).x


def scores(student):
    """{rms, between, modes, contrast} of a student's jumps."""
    noise, exact = ends(POINTS, 99)
    with torch.no_grad():
        made = student.x0(noise, SCHEDULE.start)
    return {"rms": round(float((made - exact).square().mean().sqrt()), 3)} | shape(made)


def shape(points):
    """{between, modes, contrast} of points (n, 2)."""
    distance, mode = torch.cdist(points.double(), RING.means).min(1)
    inside = torch.bincount(mode[distance < 0.3], minlength=8)
    return {
        "between": round(float((distance > 0.3).double().mean() * 100), 1),
        "modes": int((inside > len(points) / 16).sum()),
        "contrast": float(f"{contrast(points):.2g}"),
    }


def _network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ToyMLP(width=64)


def consistency_scores(name, seed, steps=300):
    """The scores of one option of the consistency loss."""
    student = ConsistencyModel(_network(seed), SCHEDULE, sigma_data=SIGMA_DATA)
    run = CONSISTENCY[name](
        student, RING.sample(20_000, 1).float(), steps=steps, batch=128, ema=0.99, warmup=20, seed=seed
    )
    return scores(student.with_network(run.net))


def levels_scores(last, seed):
    """The scores of the ring's student of consistency training, by the number of levels at the last step."""
    options = distilled.OPTIONS["plane"]["consistency"] | {"levels": (10, last)}
    return scores(distilled.RECIPES["consistency"](distilled.setting("ring"), seed, **options))


def seconds_a_call(batch=1000, rounds=20):
    """CPU seconds of the digits' teacher for one sample, the best of so many calls of a batch."""
    noise, best = initial_noise(batch, (1, 8, 8), 0) * SCHEDULE.start, float("inf")
    model = distilled.teacher()
    for _ in range(rounds):
        began = time.process_time()
        with torch.no_grad():
            model.x0(noise, SCHEDULE.start)
        best = min(best, time.process_time() - began)
    return float(f"{best / batch:.1g}")


def main():
    """Run the study and write its file."""
    torch.set_num_threads(1)
    results = {"about": ABOUT, "machine": machine(), "seeds": list(SEEDS), "seconds a call": seconds_a_call()}
    ring = {"a ring without modes": without_modes(POINTS), "the flow": ends(POINTS, 99)[1]}
    results["scale"] = {name: shape(points) for name, points in ring.items()}
    groups = {
        "consistency": (CONSISTENCY, consistency_scores),
        "longer": (LONGER, partial(consistency_scores, steps=2000)),
        "levels": (LEVELS, levels_scores),
    }
    for group, (names, measure) in groups.items():
        results[group] = {}
        for name in names:
            rows = [measure(name, seed) for seed in SEEDS]
            results[group][str(name)] = rows
            print(group, name, rows, flush=True)
    RESULT.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
