"""The picture that stands for the page where no script runs."""

from book.plots import Picture, trajectories
from book.problems import RING
from toolkit import VP, grids, initial_noise, sample
from toolkit.ddim import ddim
from toolkit.dpm_solver import dpmpp_2m


def picture() -> Picture:
    """DDIM and 2M at ten calls from the same noise, on the ring: what the page shows when it opens."""
    schedule, noise = VP(), initial_noise(16, 2, seed=0)
    times = grids.uniform_lambda(schedule, 10)
    paths = {
        title: sample(solver, RING.model(schedule), noise, times, keep_path=True).path
        for title, solver in (("DPM-Solver++(2M), 10 calls", dpmpp_2m), ("DDIM, 10 calls", ddim))
    }
    return trajectories(paths, data=RING.sample(2000, 0), cols=2)
