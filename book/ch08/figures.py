"""Figures of chapter 8: practice."""

from book.plots import GREY, INK, Picture, array, image_grid, listing, mark, new_figure, number, style
from book.problems import rms

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


# --- the contest ----------------------------------------------------------------------------------------


@style()
def contest_lines(found) -> Picture:
    """Fréchet distance against calls, a curve for each baseline, and the floor of perfect samples.

    found: what `experiments.contest_curves` returns.
    """
    fig, ax = new_figure(height=4.2)
    told = []
    for i, (name, (calls, means)) in enumerate(found["curves"].items()):
        apart = {"color": GREY, "linewidth": 3} if "no network" in name else mark(i)
        ax.plot(calls, means, label=name, **apart)
        ends = [number(mean) for mean in array(means) if mean == mean]
        told.append(f"{name} {', '.join(ends)}")
    ax.axhline(found["floor"], color=GREY, linewidth=1.2)
    ax.annotate(
        "perfect samples", (1, found["floor"]), (2, 4), textcoords="offset points", color=INK, fontsize=9
    )
    ax.set(xscale="log", yscale="log", xlabel="calls a sample", ylabel="Fréchet distance, n = 2000")
    ax.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    alt = f"Fréchet distance against 1, 2, 4 and 8 calls, both on logarithmic axes: {listing(told, 12)}."
    return Picture(fig, f"{alt} Perfect samples would have {number(found['floor'])}.")


def contest_samples(rows) -> Picture:
    """What entries draw at one call, a digit a column: row -> (10, 1, 8, 8)."""
    told = [f"{name} {number(array(x).std())}" for name, x in rows.items()]
    alt = (
        f"The digits 0 to 9 as entries draw them from one noise; deviation of their pixels: {listing(told)}."
    )
    return image_grid(rows, alt=alt)


def contest_forgeries(rows) -> Picture:
    """A stored digit of each class and what is made of it: row, with its ratio r, -> (10, 1, 8, 8)."""
    first, *others = rows
    far = [f"{name} {number(rms(rows[name] - rows[first]))}" for name in others]
    alt = f"The digits 0 to 9, {first}, and what is made of them; root mean square change: {listing(far)}."
    return image_grid(rows, alt=alt)


def contest_forger(found) -> Picture:
    """What `experiments.contest_forger` returns: three rows of digits, with r above each column."""
    rows = {name: found[name] for name in ("stored", "changed", "nearest digit")}
    ratios = [f"{r:.2f}" for r in found["r"]]
    told = "Ten digits as they are stored, changed, and the nearest digit of the data"
    alt = f"{told}; ratios r: {listing(ratios, 10)}."
    return image_grid(rows, column_labels=ratios, title="r of each changed digit", alt=alt)
