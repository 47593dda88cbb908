"""Pictures: alt text from the data, stable bytes, and figures that survive greyscale."""

import io
import re

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from book import folders, plots
from book.plots import Picture, is_filler


class Straight:
    """A schedule with the face that schedule_panels asks for."""

    start, end = 1.0, 0.01
    alpha = staticmethod(lambda t: 1 - 0.9 * t)
    sigma = staticmethod(lambda t: t)
    lam = staticmethod(lambda t: np.log((1 - 0.9 * t) / t))


def cases():
    random = np.random.default_rng(3)
    steps = np.array([5, 10, 20, 40])
    cloud = random.normal(size=(200, 2))
    path = np.linspace(1, 0.1, 11)[:, None, None] * random.normal(size=(12, 2))
    images = random.uniform(-1, 1, (12, 1, 8, 8)).astype(np.float32)
    return {
        "lines": lambda: plots.lines({"a": steps, "b": (steps, steps**2)}, "n", "value", logy=True),
        "loglog": lambda: plots.loglog_convergence({"a": (steps, 1 / steps), "b": (steps, 1 / steps**2)}),
        "bars": lambda: plots.bars({"10": 0.9, "20": 0.5}, "distance", reference=(0.4, "floor")),
        "grouped bars": lambda: plots.bars({"10": {"a": 1, "b": 2}, "20": {"a": 3, "b": 4}}, "distance"),
        "schedules": lambda: plots.schedule_panels({"straight": Straight, "again": Straight}),
        "clouds": lambda: plots.scatter_grid({"data": cloud, "both": [cloud, cloud / 2]}),
        "plane paths": lambda: plots.trajectories({"10 steps": path}, data=cloud),
        "line paths": lambda: plots.trajectories({"x": path[..., 0]}, np.linspace(1, 0, 11), cloud[:, 0]),
        "images": lambda: plots.image_grid(torch.from_numpy(images), cols=6, title="Twelve squares of noise"),
        "rows": lambda: plots.image_grid({"top": images[:3], "low": images[3:6]}, column_labels=list("abc")),
        "journey": lambda: plots.journey({"a": (images[:5], images[5:8]), "b": (images[:2], images[8:])}),
    }  # fmt: skip


@pytest.mark.parametrize("name", cases())
def test_every_figure_has_alt_text_and_stable_small_bytes(name):
    one, two = cases()[name](), cases()[name]()
    assert not is_filler(one.alt) and len(one.alt) < 900 and "nan" not in one.alt
    assert not re.search(r"\s\s|\s[;.,:]|\.\.$", one.alt), one.alt
    assert one.png == two.png and one.alt == two.alt
    assert b"Software" not in one.png and len(one.png) < 60_000
    image = Image.open(io.BytesIO(one.png))
    assert image.width <= 730
    data, metadata = one._repr_mimebundle_()
    assert data["text/plain"] == one.alt == metadata["image/png"]["alt"]


def test_alt_text_tells_what_the_data_do():
    x = np.arange(1, 6.0)
    assert "up rises from 1 to 5" in plots.lines({"up": (x, x)}, "n", "value").alt
    assert "down falls from 5 to 1" in plots.lines({"down": (x, x[::-1])}, "n", "value").alt
    assert "flat stays at 2" in plots.lines({"flat": (x, 0 * x + 2)}, "n", "value").alt
    assert (
        "hat rises from 0 to 1 at 3, then ends at 0"
        in plots.lines({"hat": (x, [0, 0.5, 1, 0.5, 0])}, "n", "v").alt
    )
    assert "no finite value" in plots.lines({"gone": (x, x * np.nan)}, "n", "value").alt


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_legend_says_the_order(order):
    steps = np.array([10.0, 20, 40, 80])
    assert f"(order {order}.0)" in str(
        plots.loglog_convergence({"s": (steps, 7.0 / steps**order)}).axes[0].get_legend_handles_labels()[1]
    )


def test_rounding_does_not_count_as_order():
    steps = np.array([2, 4, 8, 16, 32])
    alt = plots.loglog_convergence({"s": (steps, [1, 1 / 16, 1 / 256, 4**-6, 1e-16])}).alt
    assert "order 4 to" in alt
    assert "order" not in plots.loglog_convergence({"s": (steps, [1, 1, 1, 1e-15, 1e-16])}, orders=()).alt


def luminance(colour):
    """Relative luminance (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_series_differ_in_dash_and_marker_and_neighbours_in_lightness():
    looks = [plots.mark(i) for i in range(len(plots.COLOURS))]
    for key in ("color", "linestyle", "marker"):
        assert len({str(look[key]) for look in looks}) == len(looks)
    light = [luminance(colour) for colour in plots.COLOURS]
    assert all(1.05 / (v + 0.05) >= 2 for v in light), "every line stands out from white paper"
    first = np.array(light[:2]) + 0.05
    assert first.max() / first.min() > 3


def test_style_leaves_no_trace():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.lines({"a": [1, 2, 3]}, "n", "value").png  # noqa: B018
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "alt", ["", None, "figure", "Image.", "a plot of x", "No description has been provided for this"]
)
def test_filler_is_refused(alt):
    assert is_filler(alt)
    with pytest.raises(ValueError, match="alt must say"):
        Picture(Figure(), alt)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Picture("no figure", "A sentence that says what is seen."),
        lambda: plots.lines({}),
        lambda: plots.lines({"a": ([1, 2], [1, 2, 3])}),
        lambda: plots.scatter_grid({"a": np.zeros((3, 3))}),
        lambda: plots.image_grid(np.zeros((8, 8))),
        lambda: plots.trajectories({"a": np.zeros((3, 4))}),
    ],
)
def test_bad_input_is_one_sentence(call):
    with pytest.raises(ValueError, match=r"^[^\n]{20,}$"):
        call()


@pytest.mark.parametrize("chapter", folders.chapters("figures.py"))
def test_figures_take_data_and_experiments_draw_nothing(chapter):
    """A figure can be imported, and drawn, where no experiment is: beside a student's answer."""
    for name, other in (("figures", "experiments"), ("experiments", "figures")):
        path = folders.folder(chapter) / f"{name}.py"
        if path.exists():
            assert not re.search(rf"^\s*(from|import) .*\b{other}\b", path.read_text("utf8"), re.MULTILINE)


# --- images ---------------------------------------------------------------------------------------------


def test_noise_is_drawn_pixel_by_pixel_over_twice_the_range_and_small_digits_smoothly():
    noise = np.random.default_rng(0).normal(size=(8, 8))
    sheet, *_ = plots.mosaic([[noise]], pixels=48, noisy=True)
    blocks = sheet.reshape(8, 6, 8, 6)
    assert np.ptp(blocks, axis=(1, 3)).max() == 0
    assert np.abs(blocks[:, 0, :, 0] - np.clip((noise + 2) / 4, 0, 1)).max() < 1 / 31
    smooth, *_ = plots.mosaic([[np.clip(noise, -1, 1)]], pixels=48)
    assert np.ptp(smooth.reshape(8, 6, 8, 6), axis=(1, 3)).max() > 0.2


def test_a_row_can_be_noisy_beside_a_clean_one():
    image = np.full((8, 8), -1.0)
    sheet, *_ = plots.mosaic([[image], [image]], pixels=16, gap=0, noisy=[True, False])
    assert set(np.unique(sheet[:16])) == {np.float32(round(31 / 4) / 31)} and (sheet[16:] == 0).all()


@pytest.mark.parametrize("noisy", [False, True])
def test_large_images_keep_their_pixels(noisy):
    image = np.random.default_rng(0).uniform(-1, 1, (1, 28, 28))
    sheet, *_ = plots.mosaic([[image]], noisy=noisy)
    grey = np.round((image[0] / (2 if noisy else 1) + 1) / 2 * 31) / 31
    assert sheet.shape == (56, 56) and np.allclose(sheet, grey.repeat(2, 0).repeat(2, 1))
