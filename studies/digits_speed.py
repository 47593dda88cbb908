"""Speed against quality of DDIM and two DDPMs on the shipped digits network, 16 seeds: `python -m
studies.digits_speed` (some three minutes of one core) writes book/ch02/recorded/digits_speed.json, which
`book.claims.recorded` reads.
"""

import json
import time

import torch

from benchmarks.__main__ import machine
from book import folders
from book.ch02 import experiments
from toolkit.data import digits
from toolkit.metrics import frechet_distance, sliced_wasserstein

RESULT = folders.folder("02") / "recorded" / "digits_speed.json"
COUNT, SEEDS = 400, tuple(range(16))
ABOUT = {
    "what": "distances of n generated digits, 40 of each class, to all 1797: Fréchet (features of the "
    "shipped classifier) and sliced Wasserstein (pixels), for each seed; the lower the better, and only "
    "comparable at equal n and equal quotas",
    "schedule": "Discrete.linear(1000), grids.strided down to no noise; x_T of a seed is the same for all",
    "seconds": "CPU seconds of one thread for n images, the least of the seeds",
}


def measure(name: str, steps: int, seeds=SEEDS, n: int = COUNT) -> dict:
    """One row: {steps, nfe, seconds, "Fréchet distance": [...], "sliced Wasserstein": [...]}."""
    row = {"steps": steps, "seconds": [], "Fréchet distance": [], "sliced Wasserstein": []}
    for seed in seeds:
        start = time.process_time()
        run = experiments.digits_at(steps, n, name, seed)
        row["seconds"].append(time.process_time() - start)
        row["nfe"] = run.nfe
        row["Fréchet distance"].append(round(frechet_distance(run.x), 4))
        row["sliced Wasserstein"].append(round(sliced_wasserstein(run.x, digits("all")[0]), 5))
    return row | {"seconds": round(min(row["seconds"]), 3)}


def main():
    """Run the study and write its file."""
    torch.set_num_threads(1)
    results = {"about": ABOUT, "machine": machine(), "n": COUNT, "seeds": list(SEEDS), "samplers": {}}
    for name in experiments.SAMPLERS:
        results["samplers"][name] = [measure(name, steps) for steps in experiments.COUNTS]
        print(name, [(row["nfe"], row["seconds"]) for row in results["samplers"][name]], flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
