"""How long the playground computes, in Chromium: sixteen digits in ten calls, and the exact ends."""

import tempfile
from pathlib import Path

from benchmarks.timing import summary
from book.site.playground import write
from tests.book.notebooks.lab import CHROMIUM

TARGET = 0.2  # seconds, for sixteen digits in ten calls
CASES = {
    "sixteen digits, ten calls, not told": {"label": "none", "w": 1},
    "sixteen digits, ten calls, 0 to 9 in turn": {"label": "turns", "w": 1},
    "sixteen digits, ten calls, guided (five steps of two calls)": {"label": "3", "w": 3, "steps": 5},
}
# Milliseconds of each round, the model and the run anew; the first reads the network's weights, too.
RUN = """([one, rounds]) => {
  const asked = { data: "digits", schedule: "edm", n: 16, ...one }, taken = [];
  const x = combine(80, initialNoise(16, 64, 0));
  for (let round = 0; round < rounds; round++) {
    const start = performance.now(), model = modelOf(asked);
    for (const _ of dpmpp_2m(model, x, GRIDS.karras(model.schedule, one.steps ?? 10, {}))) ;
    taken.push(performance.now() - start);
  }
  return taken;
}"""
EXACT = """([data, rounds]) => Array.from({ length: rounds }, () => {
  const start = performance.now(), model = modelOf({ data, schedule: "vp", label: "none", w: 1, n: 16 });
  for (const _ of exactWay(model, initialNoise(16, model.d, 0), 1, 0.001)) ;
  return performance.now() - start;
})"""


def measure(rounds: int) -> list:
    """Rows {name, best_us, median_us, cpu_us}: each in one page, cpu_us the mean time of the page's thread,
    which a busy machine does not lengthen; nothing where there is no Chromium.
    """
    if CHROMIUM is None:
        return []
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        address = write(Path(folder)).as_uri()
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page()
        page.goto(address + "#data=gaussian")
        clock = page.context.new_cdp_session(page)
        clock.send("Performance.enable", {"timeDomain": "threadTicks"})
        rows = [_row(name, page, clock, RUN, one, rounds) for name, one in CASES.items()]
        for data in ("ring", "moons", "digits"):
            name = f"the exact end of sixteen samples, {data}"
            rows.append(_row(name, page, clock, EXACT, data, max(1, rounds // 10)))
        browser.close()
    return rows


def _row(name, page, clock, script, asked, rounds):
    before = _thread_time(clock)
    taken = page.evaluate(script, [asked, rounds])
    cpu = (_thread_time(clock) - before) / len(taken)
    return {"name": name, **summary([ms / 1e3 for ms in taken]), "cpu_us": round(cpu * 1e6, 2)}


def _thread_time(clock):
    """Seconds that the page's thread has spent in tasks."""
    metrics = {one["name"]: one["value"] for one in clock.send("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]


def page(rows: list) -> list:
    """The lines of the results' page."""
    lines = [
        "## The playground",
        "",
        f"In Chromium, one thread. Target: sixteen digits in ten calls in at most {TARGET} s.",
        "",
        "| what | best, ms | median, ms | CPU, ms |",
        "|---|---|---|---|",
    ]
    keys = "best_us", "median_us", "cpu_us"
    return lines + [f"| {r['name']} | {' | '.join(f'{r[key] / 1e3:.0f}' for key in keys)} |" for r in rows]
