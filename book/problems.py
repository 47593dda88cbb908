"""What several chapters measure on and with: data with known answers, measures, two ways to break a sampler.

An experiment that only one chapter needs stays in that chapter's folder.
"""

import math

import numpy as np
import torch

from toolkit import VP, Discrete, Mixture, VPCosine, distilled
from toolkit.sampling import Sampler

# --- data -----------------------------------------------------------------------------------------------

RING = Mixture.ring(8)
WIDE_RING = Mixture.ring(8, std=0.3)  # broad modes: no sample changes mode when a step does: clean orders


def two_peaks() -> Mixture:
    """One-dimensional data with two unequal peaks: 30 % of N(-1, 0.15^2) and 70 % of N(0.8, 0.25^2)."""
    return Mixture([0.3, 0.7], [[-1.0], [0.8]], [0.15, 0.25])


def density(mixture: Mixture, alpha: float, sigma: float, points: int = 3001, reach: float = 9.0) -> tuple:
    """(x, p(x)) of alpha x_0 + sigma eps for a one-dimensional mixture, both (points,) or (points, 1), on a
    grid that holds all but 1e-15 of the mass.
    """
    sd = math.sqrt(alpha**2 * float(mixture.stds.max()) ** 2 + sigma**2)
    mu = alpha * mixture.means[:, 0]
    x = torch.linspace(
        float(mu.min()) - reach * sd, float(mu.max()) + reach * sd, points, dtype=torch.float64
    )[:, None]
    return x, mixture.log_prob(x, alpha, sigma).exp()


def normal_density(x, mean, var):
    """The density of N(mean, var) at x, arrays that broadcast."""
    return np.exp(-((x - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)


def moderate(schedule=None) -> tuple[float, float]:
    """(start, end): times where kappa = sigma / alpha is 5 and 0.2, away from both ends."""
    schedule = schedule or VP()
    return tuple(float(schedule.t_of_lam(-math.log(kappa))) for kappa in (5.0, 0.2))


# --- measures -------------------------------------------------------------------------------------------


def rms(difference) -> float:
    """Root mean square over everything, of a tensor or an array."""
    return float(torch.as_tensor(difference).double().square().mean().sqrt())


def training_calls(name: str) -> int:
    """What training a student of the digits costs, in calls of the network on one sample: a training
    step is three for each sample (forward, and twice that backward), a teacher's or target's answer
    one, the critic two.
    """
    options = distilled.OPTIONS["digits"][name]
    shared, batch = distilled.setting("digits"), options.get("batch", 256)
    answers = {"progressive": 2, "consistency": 1, "consistency-distilled": 3, "guided": 2, "adversarial": 3}
    each = [(steps, answers.get(name, 0)) for steps in np.atleast_1d(options["steps"]).tolist()]
    if "first_heun" in options:
        each[0] = each[0][0], 2 * options["first_heun"]
    ahead = options.get("pairs", 0) * 2 * shared.pair_steps
    ahead += options.get("paths", 0) * 2 * options.get("path_steps", 0)
    return batch * sum(steps * (3 + asked) for steps, asked in each) + ahead


# --- broken on purpose ----------------------------------------------------------------------------------


def mistake(loop):
    """Decorate a wrong sampler, kept to be measured: a `Sampler` outside the registry, that promises nothing.
    """
    return Sampler(loop)


class RoundedClock:
    """A model that knows only whole steps out of T: the time is rounded before it is asked, as an
    integer-time network asks for.
    """

    def __init__(self, model, whole=1000):
        self.model, self.whole, self.schedule = model, whole, model.schedule

    @property
    def nfe(self):
        return self.model.nfe

    def begin(self):
        self.model.begin()

    def eps(self, x, t):
        return self.model.eps(x, max(round(t * self.whole), 1) / self.whole)


# --- what claims are tried on besides -------------------------------------------------------------------
# for `book.claims.tried_on`: names of an experiment's module, and what stands for them


def three_peaks() -> Mixture:
    """One-dimensional data with three unequal peaks: 25 % of N(-1.2, 0.2^2), 45 % of N(0.1, 0.15^2) and 30 %
    of N(1, 0.25^2).
    """
    return Mixture([0.25, 0.45, 0.3], [[-1.2], [0.1], [1.0]], [0.2, 0.15, 0.25])


class CosineTable(Discrete):
    """A Discrete whose linear table is the cosine one."""

    linear = Discrete.cosine


ON_COSINE = {"the cosine schedule": {"VP": VPCosine}}
ON_COSINE_MODERATE = {"the cosine schedule": {"VP": VPCosine, "moderate": lambda: moderate(VPCosine())}}
ON_COSINE_TABLE = {"the cosine table": {"Discrete": CosineTable}}
ON_SIX_MODES = {"six wider modes": {"RING": Mixture.ring(6, std=0.12)}}
ON_SIX_WIDE = {"six wide modes": {"WIDE_RING": Mixture.ring(6, std=0.4)}}
ON_THREE_PEAKS = {"three peaks": {"two_peaks": three_peaks}}
