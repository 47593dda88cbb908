"""Chapter 7: MeanFlow, a network of two times that knows the mean velocity of a step; its recipe there."""

from book.contest.kit import fresh, trained
from toolkit import Flow, flow_maps, grids
from toolkit import sample as run
from toolkit.networks import TwoTimeMLP


def train(images, labels, seconds, seed):
    """From the data alone, all of the time."""

    config = dict(shape=(1, 8, 8), n_classes=10, width=160, blocks=4, condition=96)

    how = dict(labels=labels, p_uncond=0.65, tangent="model", power=1.0, seed=seed)

    def fit(net, **loop):
        return flow_maps.train(net, images, **how, **loop)

    return trained(seconds, lambda: fresh(TwoTimeMLP, seed, **config), fit)


def sample(network, noise, labels, calls, notes):
    """Equal steps from time 1 to 0, a call each."""
    model = flow_maps.MeanVelocity(network, label=labels)
    return run(flow_maps.flow_map, model, noise, grids.uniform(Flow(), calls, 1.0, 0.0)).x
