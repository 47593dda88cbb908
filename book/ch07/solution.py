"""The right answers of lesson 07, from 07_flow_maps.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.  What is computed there is not here: end, mean, total,
end_rate, jump, euler_calls, jump_mean, jump_std, gain, greedy_cost, least, middle, karras_middle,
first_karras, plain_karras, first_learned, plain_learned, fair_first, fair_plain, start_alone.
"""

import sympy
import torch
from matplotlib.figure import Figure
x, t, s, m, d = sympy.symbols("x t s m d", positive=True)
straight = 0  # x_t is a straight line in t only where D_t is


def meanflow_loss(net, x, v, t, s):
    """L, a tensor without axes, which hangs on the network's parameters.

    net(x, t, gap): u, (B, d).  x, v: (B, d).  t >= s: (B,).
    """
    u, rate = torch.func.jvp(lambda x, t: net(x, t, t - s), (x, t), (v, torch.ones_like(t)))
    target = v - (t - s)[:, None] * rate
    return (u - target.detach()).square().mean()


told_exactly, told_pairs = "same", "another"


def walk(u, x, times):
    """The state at times[-1], (B, d).  u(x, t, s): (B, d), t and s floats.  x: (B, d) at times[0]."""
    for t, s in zip(times, times[1:]):
        x = x - (t - s) * u(x, t, s)
    return x


def renoised(u, x, times, noises):
    """The same by jumps to time 0; noises: z_0, ..., z_(N - 1), (B, d) each."""
    for t, s, z in zip(times, times[1:], noises):
        data = x - t * u(x, t, 0.0)
        x = (1 - s) * data + s * z
    return x


follows = "walk"


def defect(u, x, t, r, s):
    """How far two jumps are from one, a float.  u(x, t, s): (B, d).  x: (B, d).  t > r > s: floats."""
    halfway = x - (t - r) * u(x, t, r)
    two = halfway - (r - s) * u(halfway, r, s)
    one = x - (t - s) * u(x, t, s)
    return (two - one).square().mean().sqrt().item()


def velocity_defect(u, v, x, t):
    """How far u is from the velocity where a step has no length, a float.  v(x, t): (B, d)."""
    return (u(x, t, t) - v(x, t)).square().mean().sqrt().item()


semigroup_1, semigroup_2, semigroup_3 = "fails", "passes", "passes"
semigroup_4, semigroup_5 = "fails", "passes"
flow_map = 3


def shortcut_loss(u, x, t, s):
    """L, a tensor without axes, which hangs on the parameters of u.

    u(x, t, s): (B, d).  x: (B, d).  t > s: (B,).
    """
    middle = (t + s) / 2
    first = u(x, t, middle)
    halfway = x - (t - middle)[:, None] * first
    target = (first + u(halfway, middle, s)) / 2
    return (u(x, t, s) - target.detach()).square().mean()


flow_map_std = 0.5
t, s, delta = sympy.symbols("t s delta", positive=True)


def draw(distance, seeds):
    """Median distance against calls, three lines with their ranges; returns the Axes.  seeds: a list."""
    ax = Figure(figsize=(6.4, 3.6), layout="constrained").add_subplot()
    calls = [1, 2, 4, 8, 16]
    for method, style in (("Euler", "o-"), ("flow map", "s--"), ("consistency", "^:")):
        table = torch.tensor([[distance(method, n, seed) for n in calls] for seed in seeds])
        (line,) = ax.loglog(calls, table.quantile(0.5, dim=0), style, label=method)
        ax.fill_between(calls, table.amin(0), table.amax(0), color=line.get_color(), alpha=0.15)
    ax.set(xlabel="calls of the network", ylabel="Wasserstein distance from the data")
    ax.set_xticks(calls, [str(n) for n in calls])
    ax.legend(frameon=False)
    return ax


euler, flow, consistency = "better", "tie", "worse"
error_of = t * delta
k = sympy.symbols("k", positive=True)


def shifted_times(steps, shift, count=1000):
    """steps + 1 floats, from 1 down to 0.  steps: at least 2.  count: how many times the network knows."""
    first, last = 1.0, 1 / count
    times = [first + (last - first) * i / (steps - 1) for i in range(steps)]
    return [shift * t / (1 + (shift - 1) * t) for t in times] + [0.0]


def flow_walk(velocity, x, steps):
    """The state at time 0, (B, d).  velocity(x, t): (B, d), t a float.  x: (B, d) at time 1."""
    for i in range(steps):
        x = x - velocity(x, 1 - i / steps) / steps
    return x


twice = k**2
last_twice = 9 * 0.001 / (1 + 8 * 0.001)
exposes = "point"


def cheapest(costs, steps):
    """The indices of the grid of so many steps with the smallest sum: a list of steps + 1 ints.

    costs: (n, n), a numpy array, costs[i, j] that of a step from i to j > i.  1 <= steps < n.
    """
    totals, came = {0: 0.0}, []
    for _ in range(steps):
        best = {}
        for j in range(len(costs)):
            ways = [(total + costs[i, j], i) for i, total in totals.items() if i < j]
            if ways:
                best[j] = min(ways)
        totals = {j: total for j, (total, i) in best.items()}
        came.append({j: i for j, (total, i) in best.items()})
    path = [len(costs) - 1]
    for before in reversed(came):
        path.append(before[path[-1]])
    return path[::-1]


def levels_of(theta, top, bottom):
    """s_0, ..., s_N, (N + 1,), from top down to bottom.  theta: (N,).  top > bottom: floats."""
    shares = torch.softmax(theta, 0).cumsum(0)[:-1]
    ends = torch.tensor([top, bottom], dtype=theta.dtype)
    return torch.cat([ends[:1], top * (bottom / top) ** shares, ends[1:]])


def error_of_levels(levels, d):
    """E of these levels, a tensor without axes (for your own use)."""
    s, e = levels[:-1], levels[1:]
    made = (1 + (e - s) * s / (d**2 + s**2)).log().sum()
    exact = ((d**2 + levels[-1] ** 2) / (d**2 + levels[0] ** 2)).log() / 2
    return (made - exact) ** 2


def learned_levels(d, top, bottom, steps):
    """The best levels for data N(0, d^2): a list of steps + 1 floats."""
    theta = torch.zeros(steps, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        error_of_levels(levels_of(theta, top, bottom), d).backward()
        optimiser.step()
    return levels_of(theta, top, bottom).tolist()


def walk_from(eps, x, levels, first=None):
    """The state at levels[-1], (B, d).  eps(x, s), first(x, s): (B, d).  levels: floats, decreasing."""
    for k, (s, e) in enumerate(zip(levels, levels[1:])):
        said = first if first and k == 0 else eps
        x = x + (e - s) * said(x, s)
    return x


reported = 1 - 0.283 / 0.361
unfair = "start"
