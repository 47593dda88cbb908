"""The playground in a real browser: its scripts beside the toolkit, same numbers; the page, played with."""

import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
import torch

from book.chapters import read
from book.site import links
from book.site.playground import export, presets, write
from tests.book.notebooks.lab import CHROMIUM
from tests.seeds import seed_of
from toolkit import (
    EDM,
    VE,
    VP,
    Discrete,
    Flow,
    Guided,
    Mixture,
    Network,
    SubVP,
    VPCosine,
    grids,
    initial_noise,
    sample,
)
from toolkit.convergence import reference
from toolkit.networks import pretrained
from toolkit.ode import rk45
from toolkit.sampling import every_sampler

SCHEDULES = {
    "vp": VP(),
    "vp_cosine": VPCosine(),
    "sub_vp": SubVP(),
    "ve": VE(),
    "edm": EDM(),
    "flow": Flow(),
    "linear": Discrete.linear(),
    "quadratic": Discrete.quadratic(),
    "sigmoid": Discrete.sigmoid(),
    "cosine": Discrete.cosine(),
}
SAMPLERS = export.deterministic()
ROOT = Path(__file__).resolve().parents[3]
DOUBLE = {"dtype": torch.float64}

no_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium"
)


def in_a_browser(test):
    return pytest.mark.browser(no_chromium(test))


# --- what is exported -----------------------------------------------------------------------------------


def test_every_sampler_is_on_the_page_or_left_out_for_a_reason():
    assert set(export.samplers()) | set(export.left_out()) == set(every_sampler())
    assert not set(export.samplers()) & set(export.left_out())
    assert {name for some in export.TITLES.values() for name in some} == set(export.samplers())
    random = {name for name, one in every_sampler().items() if one.random}
    assert random - set(export.left_out()) == {"ddim"}


def test_the_folder_is_whole_and_asks_for_nothing_else(tmp_path):
    page = write(tmp_path / "made")
    assert page == tmp_path / "made" / "index.html"
    text = page.read_text("utf8")
    assert "<!-- " not in text, "a part that was not filled in"
    named = [name for name in re.findall(r'(?:src|href)="([^"#]+)"', text) if not name.startswith("data:")]
    for name in named:
        assert re.fullmatch(r"\.\./(index|chapters/\w+)\.html", name) or (page.parent / name).is_file(), name
    files = {path.name: path.read_bytes() for path in page.parent.iterdir()}
    assert set(files) == {"index.html", *(name for name in named if not name.startswith("../"))}
    assert not [name for name, content in files.items() if re.search(rb"https?://", content)]
    apart = [one for one in links.problems(page.parent) if "points at ../" not in one]  # those need the book
    assert apart == []
    write(page.parent)  # again, over what is there
    assert {path.name: path.read_bytes() for path in page.parent.iterdir()} == files


@pytest.mark.parametrize("preset", presets.PRESETS, ids=lambda preset: f"{preset.section} {preset.title}")
def test_a_preset_names_a_section_of_its_chapter(preset):
    text = "\n".join(cell.source for cell in read(ROOT / f"chapters/{preset.chapter}.ipynb").cells)
    assert re.search(rf"(?m)^## {re.escape(preset.section)} ", text)


# --- the same numbers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the page is: on the file system, in a folder with a space and a letter beyond ASCII."""
    return write(tmp_path_factory.mktemp("the site é") / "playground").as_uri()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install .[test]"
    )
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser, address):
    page = browser.new_page()
    page.goto(address)
    yield page
    page.close()


# A run as the page makes it: the states, their times, and the calls made.
RUN = """(asked) => asked.map((one) => {
  try {
    const model = modelOf(one), times = one.times ?? GRIDS[one.grid](model.schedule, one.steps, one.ends);
    const path = [...SAMPLERS[one.sampler](model, Float64Array.from(one.x), times, one.options)];
    return {
      grid: times, times: path.map(([t]) => t), calls: model.calls,
      states: [path.at(-1), path[path.length >> 1]].map(([, x]) => Array.from(x)),
    };
  } catch (problem) { return { refused: String(problem) }; }
})"""
POINTS = [[-0.8, 0.5], [0.4, 0.9], [0.7, -0.6], [-0.3, -0.9], [0.1, 0.2]]


def own():
    return Mixture([1.0] * len(POINTS), POINTS, [0.2] * len(POINTS))


class Problem:
    """One that both sides know: what the page is told, the toolkit's model, and noise."""

    def __init__(self, data, schedule, label="none", w=1.0, n=3, seed=0):
        self.schedule, self.shape = SCHEDULES[schedule], (1, 8, 8) if data == "digits" else (2,)
        self.told = {"data": data, "schedule": schedule, "label": label, "w": w, "n": n}
        self.told |= {"points": POINTS, "width": 0.2}
        self.noise = initial_noise(n, self.shape, seed, **DOUBLE)
        self.model = self._digits(label, w, n) if data == "digits" else self._exact(data)

    def _exact(self, data):
        if data == "own":
            return own().model(self.schedule)
        numbers = export.mixtures()[data]
        basis, spectrum = (torch.tensor(numbers[name], **DOUBLE) for name in ("basis", "spectrum"))
        covariances = basis @ torch.diag_embed(spectrum) @ basis.mT
        return Mixture(numbers["weights"], numbers["means"], covariances=covariances).model(self.schedule)

    def _digits(self, label, w, n):
        net = pretrained("digits")
        model = Network(net.double(), self.schedule, "edm", sigma_data=net.notes["settings"]["sigma_data"])
        if label == "none":
            return model
        labels = torch.arange(n) % 10 if label == "turns" else torch.full((n,), int(label))
        return model.with_label(labels) if w == 1 else Guided(model, labels, w)


def case(problem, sampler, grid="uniform", steps=5, ends=None, **options):
    """(what the page is asked, a function that gives the toolkit's run)."""
    ends = ends or {}
    times = grids.GRIDS[grid](problem.schedule, steps, **ends)
    start = float(problem.schedule.sigma(float(times[-1 if SAMPLERS[sampler].kind == "inversion" else 0])))
    x = problem.noise * max(start, 0.5)
    asked = problem.told | {"sampler": sampler, "grid": grid, "steps": steps, "ends": ends}
    asked |= {"x": x.flatten().tolist(), "options": options}
    return asked, lambda: sample(SAMPLERS[sampler], problem.model, x, times, keep_path=True, **options)


def assert_same(page, cases):
    answers = page.evaluate(RUN, [asked for asked, _ in cases])
    for (asked, run), answer in zip(cases, answers, strict=True):
        want, about = run(), {k: v for k, v in asked.items() if k not in ("x", "points")}
        assert "refused" not in answer, (about, answer)
        assert answer["calls"] == want.nfe, about
        close = 1e-5 if SAMPLERS[asked["sampler"]].nfe is None else 1e-9  # steps by a difference that cancels
        assert answer["times"] == pytest.approx(want.times, rel=close, abs=1e-12), about
        places = [-1, len(want.path) // 2]
        for state, exact in zip(answer["states"], want.path[places].flatten(1), strict=True):
            gap = float((torch.tensor(state, **DOUBLE) - exact).abs().max() / exact.square().mean().sqrt())
            assert gap < 1e-5, (about, gap)


PROBLEMS = [
    ("ring", "none", 1.0),
    ("long", "none", 1.0),
    ("own", "none", 1.0),
    ("digits", "none", 1.0),
    ("digits", "turns", 1.0),
    ("digits", "3", 2.5),
]


@in_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_here_and_there(page, name):
    """Every problem on every grid; the schedules and the numbers of steps are dealt out to them."""
    cases, tables = [], [schedule for schedule in SCHEDULES if hasattr(SCHEDULES[schedule], "T")]
    for i, (data, label, w) in enumerate(PROBLEMS):
        if name == "adaptive_per_sample" and w != 1:
            continue  # the toolkit cannot cut a guided batch by sample
        for j, grid in enumerate(grids.GRIDS):
            turn = i + j + seed_of(name)
            known = tables if grid == "strided" else list(SCHEDULES)
            schedule = known[turn % len(known)]
            steps = (1, 2, 3, 5, 10, 17)[(turn + i) % 6]
            low = hasattr(SCHEDULES[schedule], "T") and grid in ("uniform_lambda", "karras")
            problem = Problem(data, schedule, label, w, seed=turn)
            cases.append(case(problem, name, grid, steps, {"end": 1e-3} if low else {}))
    assert_same(page, cases)


def other_values(name):
    """Each option's other values, one at a time, as options of a run."""
    for option, about in export.samplers()[name]["options"].items():
        default, choices, span = about["default"], about["choices"], about["range"]
        if isinstance(default, bool):
            yield {option: not default}
        elif choices:
            yield from ({option: value} for value in choices if value != default)
        else:
            start = 0.5 if default is None else default
            yield {option: min(max(start * 0.8, span[0]), span[1])}


@in_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SAMPLERS if export.samplers()[name]["options"]])
def test_its_options_here_and_there(page, name, seed):
    for schedule, grid in (("vp", "karras"), ("linear", "uniform")):  # the second ends at sigma = 0
        problem, chosen = Problem("five", schedule, seed=seed), list(other_values(name))
        if name in ("midpoint", "dpm_solver_3"):  # two options that belong together
            middles = {"variable": "sigma", "mean": "geometric"}
            chosen.append(middles if name == "midpoint" else {"r1": 0.2, "r2": 0.6})
        chosen = [one for one in chosen if one != {"mean": "geometric"} or schedule == "vp"]
        assert_same(page, [case(problem, name, grid, 7, **options) for options in chosen])


@in_a_browser
def test_schedules_and_grids_here_and_there(page):
    at = """([name, shares]) => {
      const s = SCHEDULES[name](), times = shares.map((u) => s.end + u * (s.start - s.end));
      return times.map((t) => [t, s.alpha(t), s.sigma(t), s.f(t), s.g2(t), s.lam(t), s.tOfLam(s.lam(t))]);
    }"""
    made = "([name, grid, steps, ends]) => GRIDS[grid](SCHEDULES[name](), steps, ends)"
    for name, schedule in SCHEDULES.items():
        for t, *values in page.evaluate(at, [name, [k / 37 for k in range(1, 38)]]):
            wanted = [getattr(schedule, of)(t) for of in ("alpha", "sigma", "f", "g2", "lam")]
            assert values == pytest.approx([*wanted, t], rel=1e-9, abs=1e-12), (name, t)
        for grid, function in grids.GRIDS.items():
            if grid != "strided" or hasattr(schedule, "T"):
                for steps in (1, 2, 3, 7, 48, 200):
                    end = 2e-3 if steps < 48 else 0.1 * schedule.start
                    ends = {"start": 0.9 * schedule.start, "end": end}
                    for given in ({}, ends):
                        try:
                            times = function(schedule, steps, **given).tolist()
                        except ValueError:
                            with pytest.raises(Exception, match="RangeError"):
                                page.evaluate(made, [name, grid, steps, given])
                        else:
                            here = page.evaluate(made, [name, grid, steps, given])
                            assert here == pytest.approx(times, rel=1e-9, abs=1e-12), (name, grid, steps)


@in_a_browser
@pytest.mark.parametrize("d", [1, 2, 3, 64])
def test_noise_here_and_there(page, d, seed):
    here = page.evaluate("([d, seed]) => Array.from(initialNoise(5, d, seed))", [d, seed])
    assert here == pytest.approx(initial_noise(5, d, seed, **DOUBLE).flatten().tolist(), rel=1e-12, abs=1e-14)


EXACT = """(one) => {
  const model = modelOf(one), [t, s] = one.ends; let last = null;
  for (const [, x] of exactWay(model, Float64Array.from(one.x), t, s)) last = x;
  return Array.from(last);
}"""


@in_a_browser
@pytest.mark.parametrize("data", ["ring", "gaussian", "long", "own"])
@pytest.mark.parametrize("schedule", ["vp", "edm", "flow"])
def test_the_exact_end_is_exact(page, data, schedule, seed):
    """To below what the page calls "below 1e-8"."""
    problem = Problem(data, schedule, n=8, seed=seed)
    start, end = problem.schedule.start, problem.schedule.end
    x = problem.schedule.sigma(start) * problem.noise
    here = page.evaluate(EXACT, problem.told | {"x": x.flatten().tolist(), "ends": [start, end]})
    want = reference(problem.model, x, start, end, tolerance=1e-12)
    assert float((torch.tensor(here, **DOUBLE) - want.flatten()).square().mean().sqrt()) < 1e-8


@in_a_browser
@pytest.mark.slow
def test_the_exact_end_of_digits_is_exact(page, seed):
    """To below what the page calls "below 1e-5"."""
    problem = Problem("digits", "edm", "turns", n=4, seed=seed)
    x = 80 * problem.noise
    here = page.evaluate(EXACT, problem.told | {"x": x.flatten().tolist(), "ends": [80, 0.002]})
    want = sample(rk45, problem.model, x, [80, 0.002], variable="lam", rtol=1e-9, atol=1e-9).x
    assert float((torch.tensor(here, **DOUBLE) - want.flatten()).square().mean().sqrt()) < 1e-5


@in_a_browser
def test_the_most_steps_that_a_number_of_calls_pays_for(page):
    count = """([sampler, grid, schedule, calls, each]) =>
      stepsFor({sampler, grid, calls, options: {}, rho: 7}, SCHEDULES[schedule](), {}, each)"""
    for name, one in SAMPLERS.items():
        if one.nfe:
            for calls in (1, 7, 10, 31):
                fits = [n for n in range(1, 40) if one.nfe(n) <= calls] or [1]
                assert page.evaluate(count, [name, "uniform", "vp", calls, 1]) == max(fits), (name, calls)
                if calls > 7:
                    fits = [n for n in range(1, 40) if 2 * one.nfe(n) <= calls] or [1]
                    assert page.evaluate(count, [name, "uniform", "vp", calls, 2]) == max(fits), (name, calls)
    # EDM's sampler makes 2 n - 1 calls down to sigma = 0
    assert page.evaluate(count, ["edm_heun", "uniform", "linear", 9, 1]) == 5


# --- the page, played with ------------------------------------------------------------------------------


class Player:
    """One who has the page open, with these settings: by name, or as an address keeps them."""

    def __init__(self, browser, address, settings=None, width=1280, **context):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **context)
        self.page, self.problems, self.asked = self.context.new_page(), [], []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: self.problems.append(said.text))
        self.page.on("request", lambda request: self.asked.append(request.url))
        kept = settings if isinstance(settings, str) else urlencode(settings or {})
        self.page.goto(f"{address}#{kept}")
        self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.context.close()
        if problem == (None, None, None):
            assert self.problems == []
            assert not [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))]

    def wait(self):
        """Until the page has said what it found, or why it refuses."""
        self.page.wait_for_function(
            """() => /error|err alike/.test(document.getElementById("told").textContent)
              || document.getElementById("refused").textContent""",
            timeout=180_000,
        )

    def do(self, action):
        """Do something that changes the settings, and wait for what comes of it."""
        self.page.evaluate("() => ['told', 'refused'].forEach((id) => { at(id).textContent = ''; })")
        action()
        self.wait()

    def fill(self, name, value):
        self.do(lambda: self.page.fill(f"[name='{name}']", str(value)))

    def choose(self, name, value):
        self.do(lambda: self.page.select_option(f"[name='{name}']", value))

    @property
    def told(self):
        return self.page.inner_text("#told")

    @property
    def refused(self):
        return self.page.inner_text("#refused")

    def picture(self, side="a"):
        """(what is drawn, as a data URL, and what it says)."""
        canvas = self.page.locator(f"figure[data-side={side}] canvas")
        return canvas.evaluate("(c) => c.toDataURL()"), canvas.get_attribute("aria-label")

    def key(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)


def numbers_of(text):
    """(calls, error) of each side in the summary."""
    found = re.findall(r"(\d+) calls? in.*?error ([\d.e-]+)\.", text)
    return [(int(calls), float(error)) for calls, error in found]


@in_a_browser
def test_what_is_told_is_what_the_toolkit_finds(browser, address):
    settings = {"data": "five", "n": 12, "seed": 7, "a": "heun", "a.grid": "karras", "a.rho": 5}
    settings |= {"a.calls": 20, "b": "dpmpp_3m", "b.calls": 12}
    with Player(browser, address, settings) as player:
        told = numbers_of(player.told)
        wanted = []
        schedule, noise = VP(), initial_noise(12, 2, 7, **DOUBLE)
        model = Problem("five", "vp").model
        x = schedule.sigma(1.0) * noise
        end = reference(model, x, schedule.start, schedule.end)
        for name, times in (
            ("heun", grids.karras(schedule, 10, rho=5)),
            ("dpmpp_3m", grids.uniform_lambda(schedule, 12)),
        ):
            run = sample(SAMPLERS[name], model, x, times)
            wanted.append((run.nfe, float((run.x - end).square().mean().sqrt())))
        assert told == [(calls, pytest.approx(error, rel=0.06)) for calls, error in wanted]
        rows = player.page.locator("#errors tbody tr").all_inner_texts()
        assert [row.split("\t")[3] for row in rows] == ["20", "12"]


@in_a_browser
def test_one_step_at_a_time_by_the_keyboard(browser, address):
    with Player(browser, address, {"a.calls": 5, "b.calls": 3}) as player:
        page, drawn = player.page, {player.picture()[0]}
        assert "step 5 of 5" in player.picture()[1]
        page.focus("#first")
        player.key("Enter")
        assert page.is_disabled("#back") and "step 0 of 5, t = 1, 0 calls" in player.picture()[1]
        page.focus("#step")
        for step in range(1, 5):
            player.key("Enter")
            assert f"step {step} of 5" in player.picture()[1] and f"{step} call" in player.picture()[1]
            assert f"step {min(step, 3)} of 3" in player.picture("b")[1]
            assert f"step {step} of 5" in player.told
            drawn.add(player.picture()[0])
        page.focus("#cursor")
        player.key("Home", "ArrowRight", "ArrowRight")
        assert "step 2 of 5" in player.picture()[1]
        drawn.add(player.picture()[0])
        assert len(drawn) == 5
        page.focus("#back")
        player.key("Enter", "Enter")
        assert "step 0 of 5" in player.picture()[1]


@in_a_browser
def test_run_moves_on_its_own_and_stops(browser, address):
    with Player(browser, address, {"a.calls": 4, "two": 0}) as player:
        player.page.click("#run")
        assert player.page.inner_text("#run") == "Pause"
        player.page.wait_for_function("() => document.getElementById('run').textContent === 'Run'")
        assert "step 4 of 4" in player.picture()[1]


@in_a_browser
def test_who_wants_no_motion_sees_the_end_at_once(browser, address):
    with Player(browser, address, {"a.calls": 9}, reduced_motion="reduce") as player:
        player.page.click("#first")
        player.page.click("#run")
        assert player.page.inner_text("#run") == "Run" and "step 9 of 9" in player.picture()[1]


@in_a_browser
def test_the_address_keeps_what_was_set(browser, address):
    with Player(browser, address) as player:
        player.choose("data", "own")
        player.fill("points", "0.5, 0.5\n-1 0\n0;-0.7")
        player.choose("a", "exponential_ab")
        player.choose("a.variable", "sigma")
        player.fill("a.rate", 0.5)
        player.choose("b", "ddim_adaptive")
        player.do(lambda: player.page.check("[name='b.extrapolate']"))
        player.fill("b.tol", 0.02)
        first, picture = player.told, player.picture()
        with Player(browser, address, player.page.evaluate("location.hash.slice(1)")) as other:
            assert (other.told, other.picture()[1]) == (first, picture[1])
            assert other.page.input_value("[name='b.tol']") == "0.02"
            assert other.page.is_checked("[name='b.extrapolate']")


@in_a_browser
@pytest.mark.slow
def test_every_preset_sets_the_page_up(browser, address):
    with Player(browser, address) as player:
        player.page.click("#presets summary")
        for number, preset in enumerate(presets.PRESETS, 1):
            player.do(lambda number=number: player.page.click(f"#presets li:nth-child({number}) > a"))
            assert player.refused == "", preset.title
            for name, value in preset.settings.items():
                control = player.page.locator(f"[name='{name}']")
                if control.get_attribute("type") == "checkbox":
                    assert control.is_checked() == bool(value), (preset.title, name)
                else:
                    assert control.input_value() == str(value), (preset.title, name)
            assert len(numbers_of(player.told)) == 2, preset.title


@in_a_browser
def test_another_page_can_name_a_section(browser, address):
    with Player(browser, address, "section-4.5") as player:
        assert player.page.input_value("[name=a]") == "dpmpp_2m"
        told = player.told
        with Player(browser, address, player.page.evaluate("location.hash.slice(1)")) as other:
            assert other.told == told, "the address then has the settings themselves"


@in_a_browser
def test_points_by_the_pointer_by_the_keyboard_and_as_text_are_the_same(browser, address):
    with Player(browser, address, {"data": "own", "two": 0, "n": 8}) as player:
        page, found = player.page, []
        page.click("#clear")
        page.wait_for_function("() => document.getElementById('refused').textContent.includes('one point')")
        pad = page.locator("#pad")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        for x, y in ((0.5, 0.5), (-0.5, 1.0)):
            at = ((x / 2 + 1) / 2 * box["width"], (1 - y / 2) / 2 * box["height"])
            player.do(lambda at=at: page.mouse.click(box["x"] + at[0], box["y"] + at[1]))
        lines = page.input_value("[name=points]").split("\n")
        clicked = [list(map(float, line.split(","))) for line in lines]
        assert clicked == [pytest.approx([0.5, 0.5], abs=0.03), pytest.approx([-0.5, 1.0], abs=0.03)]
        player.fill("points", "0.5,0.5\n-0.5,1")
        found.append(player.told)
    with Player(browser, address, {"data": "own", "two": 0, "n": 8, "points": "0,0"}) as player:
        page = player.page
        page.focus("#pad")
        player.do(lambda: player.key("Backspace"))  # which leaves none, and the page says so
        player.key("Shift+ArrowUp", "Shift+ArrowRight", "Enter", "Shift+ArrowUp", "Shift+ArrowLeft")
        player.key("Shift+ArrowLeft", "ArrowDown", "ArrowUp", "Space", "Enter", "Backspace")
        page.wait_for_function("() => document.getElementById('told').textContent.includes('error')")
        assert page.input_value("[name=points]") == "0.5,0.5\n-0.5,1"
        assert "2 points" in page.inner_text("#cross")
        found.append(player.told)
        assert found[0] == found[1] and numbers_of(found[0])


@in_a_browser
def test_a_line_is_drawn_by_dragging(browser, address):
    with Player(browser, address, {"data": "own", "two": 0, "points": "0,0"}) as player:
        page = player.page
        page.locator("#pad").scroll_into_view_if_needed()
        box = page.locator("#pad").bounding_box()
        page.mouse.move(box["x"] + 40, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 240, box["y"] + 200, steps=120)
        player.do(page.mouse.up)
        # 3.7 units long, and a point every .12 of them at most
        assert 20 < len(page.input_value("[name=points]").split("\n")) < 33


@in_a_browser
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"a.grid": "strided"}, "needs one of DDPM's tables"),
        ({"schedule": "linear"}, "end a little earlier"),
        ({"schedule": "flow", "start": 1}, "start later"),
        ({"data": "own", "points": "1,2\n3"}, "a line holds two numbers"),
        ({"n": 0}, "Samples"),
        ({"a.calls": 3.5}, "a whole number"),
        ({"a": "ddim_adaptive", "a.tol": 0}, "tol"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(browser, address, settings, words):
    with Player(browser, address, settings) as player:
        assert words in player.refused and player.told == ""
        player.page.evaluate("() => { location.hash = '#two=1'; }")  # and all is well again
        player.page.wait_for_function("() => !document.getElementById('refused').textContent")


@in_a_browser
def test_digits_guided_and_not(browser, address):
    settings = {"data": "digits", "schedule": "edm", "label": "3", "n": 4, "two": 0, "a.grid": "karras"}
    with Player(browser, address, settings) as player:
        assert numbers_of(player.told)[0][0] == 10 and "10 steps" in player.told
        plain = player.picture()
        player.fill("w", 3)
        assert numbers_of(player.told)[0][0] == 10 and "5 steps" in player.told, "two calls a step"
        assert player.picture()[0] != plain[0] and "4 digits" in player.picture()[1]
        player.fill("shown", 2)
        assert "sample 2" in player.picture()[1]


@in_a_browser
def test_without_scripts_there_is_a_sentence_and_a_picture(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    picture = page.locator("noscript img")
    assert picture.is_visible() and "needs JavaScript" in page.inner_text("noscript")
    assert len(picture.get_attribute("alt").split()) > 10
    assert picture.bounding_box()["height"] > 100
    assert not page.is_visible("#settings")
    context.close()


# --- every reader ---------------------------------------------------------------------------------------

NAMELESS = """() => [...document.querySelectorAll("input, select, textarea, button, canvas")]
.filter((one) => {
  const text = (one.labels?.[0]?.textContent ?? one.getAttribute("aria-label") ?? one.textContent).trim();
  return !text;
}).map((one) => one.outerHTML)"""
CONTRAST = """() => {
  const light = (name) => {
    const [r, g, b] = colours()[name].match(/\\d+/g).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const names = ["ink", "soft", "line", "a", "b", "exact"];
  return Object.fromEntries(names.map((name) => [name, ratio(name, "ground")]));
}"""


@in_a_browser
@pytest.mark.parametrize("width", [320, 360, 768, 1280, 2560])
@pytest.mark.parametrize("data", ["digits", "own"])
def test_nothing_is_wider_than_the_screen(browser, address, width, data):
    with Player(browser, address, {"data": data, "n": 3, "a.calls": 3, "b.calls": 3}, width) as player:
        player.page.click("#numbers summary")
        player.page.click("#presets summary")
        assert player.page.evaluate("document.documentElement.scrollWidth") <= width
        assert player.page.evaluate(NAMELESS) == []
        pictures = player.page.locator("figure canvas")
        widths = pictures.evaluate_all("(all) => all.map((canvas) => canvas.clientWidth)")
        assert all(width * 0.2 < one or one > 400 for one in widths)


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_can_be_read(browser, address, scheme):
    with Player(browser, address, {"n": 4}, color_scheme=scheme) as player:
        page = player.page
        ratios = page.evaluate(CONTRAST)
        assert min(ratios[name] for name in ("ink", "soft")) >= 4.5
        assert min(ratios[name] for name in ("line", "a", "b", "exact")) >= 3
        ground = "getComputedStyle(document.body).backgroundColor"
        before, picture = page.evaluate(ground), player.picture()[0]
        other = "light" if scheme == "dark" else "dark"
        page.evaluate("(theme) => { document.body.dataset.theme = theme; }", other)  # as the book's pages do
        assert page.evaluate(ground) != before
        again = "(old) => document.querySelector('figure canvas').toDataURL() !== old"
        page.wait_for_function(again, arg=picture)


CONTROLS = "input, select, textarea, button, canvas[tabindex], summary"
COUNT = f"""() => [...document.querySelectorAll("{CONTROLS}")]
  .filter((one) => one.checkVisibility() && !one.disabled).length"""
FOCUSED = f"""() => {{
  const one = document.activeElement;
  return one.matches("{CONTROLS}") ? one.name || one.id || one.textContent : null;
}}"""


@in_a_browser
def test_the_keyboard_reaches_every_control(browser, address):
    with Player(browser, address, {"data": "own", "n": 4}) as player:
        page = player.page
        wanted, reached = page.evaluate(COUNT), set()
        page.evaluate("() => document.activeElement.blur()")
        for _ in range(wanted + 40):
            player.key("Tab")
            reached.add(page.evaluate(FOCUSED))
        assert len(reached - {None}) == wanted
