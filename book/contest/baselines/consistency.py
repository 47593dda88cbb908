"""Chapter 5: a consistency model, trained without a teacher."""

from book.contest.kit import fresh, trained
from toolkit import EDM, distill
from toolkit import sample as run
from toolkit.distilled import refinement_times
from toolkit.networks import DIGITS_SIGMA_DATA


def model_of(network, labels=None):
    """The network as a consistency function."""
    return distill.ConsistencyModel(network, EDM(), label=labels, sigma_data=DIGITS_SIGMA_DATA)


def train(images, labels, seconds, seed):
    """From the data alone, all of the time."""

    def fit(net, **loop):
        return distill.train_consistency(model_of(net), images, labels=labels, seed=seed, **loop)

    return trained(seconds, lambda: fresh(seed=seed), fit)


def sample(network, noise, labels, calls, notes):
    """A jump, and for each further call new noise and another jump."""
    times = refinement_times(calls)
    return run(distill.consistency, model_of(network, labels), noise * times[0], times).x
