"""One widget pattern for the whole book: a picture that follows its controls, with a static twin beside it.

:func:`explore` draws into a ``widgets.HTML`` with an ``<img alt>``, so a screen reader hears the alt text of
the picture that is shown now. The same output also carries the first picture as image/png and its alt text as
text/plain: a page without a kernel (a saved notebook, a site, a print) shows that. Nothing is drawn through
an ``Output`` widget, which would swallow errors and which the test runner cannot compare.

    from book.widgets import Choice, Slider, explore
    explore(draw, steps=Slider(1, 50, 10, "steps"), kind=Choice(["linear", "cosine"]))
"""

import base64
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import ipywidgets
import traitlets

from book.plots import Picture

VIEW = "application/vnd.jupyter.widget-view+json"
DIGITS = 9  # after the point, of a slider's value
KEPT = 256  # pictures kept by each explorer, about 10 MB


@dataclass(frozen=True)
class Slider:
    """A number from ``low`` to ``high``: a slider and a labelled number box that move together.

    Whole numbers if all four numbers are; ``value`` defaults to ``low``, ``step`` to 1 or a
    hundredth of the range.
    """

    low: float
    high: float
    value: float | None = None
    label: str | None = None
    step: float | None = None

    def _range(self):
        """``(value at first, step, whether all is whole)``."""
        value = self.low if self.value is None else self.value
        whole = all(isinstance(v, int) for v in (self.low, self.high, value, self.step or 1))
        return value, self.step or (1 if whole else (self.high - self.low) / 100), whole

    def settings(self) -> list[tuple[str, float]]:
        """``(what is shown, value)`` of each place of the slider, from low to high."""
        value, step, whole = self._range()
        places = int((self.high - self.low) / step + 1e-6)
        values = {self.low + i * step for i in range(places + 1)} | {value, self.high}
        values = sorted({v if whole else round(float(v), DIGITS) for v in values})
        return [(f"{v:.{DIGITS}g}".replace("-", "−"), v) for v in values]

    def build(self, name: str) -> tuple:
        """``(boxes to show, the widget that holds the value)``."""
        low, high = self.low, self.high
        value, step, whole = self._range()
        if not low < high or not low <= value <= high:
            raise ValueError(
                f"{name}: a slider needs low < high and a value between, got {low}, {high}, {value}"
            )
        box, slider = (
            (ipywidgets.BoundedIntText, ipywidgets.IntSlider)
            if whole
            else (ipywidgets.BoundedFloatText, ipywidgets.FloatSlider)
        )
        common = {"min": low, "max": high, "step": step, "value": value}
        box = box(
            description=self.label or name,
            layout={"width": "190px"},
            style={"description_width": "95px"},
            **common,
        )
        slider = slider(readout=False, layout={"width": "320px"}, **common)
        # The slider has no accessible name of its own in ipywidgets 8: the box carries the label, and both
        # move together.
        traitlets.link((slider, "value"), (box, "value"))
        return ipywidgets.HBox([box, slider]), box


@dataclass(frozen=True)
class Choice:
    """One of ``options`` (a list of values, or a dict label -> value): a labelled drop-down list."""

    options: Sequence | dict
    value: object = None
    label: str | None = None

    def settings(self) -> list[tuple[str, object]]:
        """``(what is shown, value)`` of each option."""
        if isinstance(self.options, dict):
            return list(self.options.items())
        return [(str(option), option) for option in self.options]

    def build(self, name: str) -> tuple:
        """``(box to show, the widget that holds the value)``."""
        options = self.settings()
        if not options:
            raise ValueError(f"{name}: a choice needs at least one option, got none")
        value = {} if self.value is None else {"value": self.value}
        box = ipywidgets.Dropdown(
            options=options,
            description=self.label or name,
            layout={"width": "320px"},
            style={"description_width": "95px"},
            **value,
        )
        return box, box


@dataclass(frozen=True)
class Tick:
    """True or False: a labelled box to tick, ticked at first if ``value``."""

    value: bool
    label: str | None = None

    def settings(self) -> list[tuple[str, bool]]:
        """``(what is shown, value)``: off, then on."""
        return [("off", False), ("on", True)]

    def build(self, name: str) -> tuple:
        """``(box to show, the widget that holds the value)``."""
        box = ipywidgets.Checkbox(
            value=self.value, description=self.label or name, style={"description_width": "95px"}
        )
        return box, box


def _control(name, given):
    """The control meant by a Slider, a Choice, a bool, a tuple (low, high[, value]) or a list of options."""
    if isinstance(given, (Slider, Choice, Tick)):
        return given
    if isinstance(given, bool):
        return Tick(given)
    if isinstance(given, tuple) and len(given) in (2, 3):
        return Slider(*given)
    if isinstance(given, (list, dict)):
        return Choice(given)
    raise ValueError(
        f"{name}: a control is a Slider, Choice, (low, high, value), list, dict or bool; got {given!r}"
    )


class Explorer(ipywidgets.VBox):
    """The widget of :func:`explore`: ``.values`` is the setting, ``.picture`` what is shown; ``.controls``,
    name -> Slider, Choice or Tick, can tell all settings, and ``.draw(values)`` draws one of them anew.
    """

    def __init__(self, draw, controls):
        if not controls:
            raise ValueError("explore needs at least one control, such as steps=Slider(1, 50, 10)")
        self.controls = {name: _control(name, given) for name, given in controls.items()}
        built = {name: control.build(name) for name, control in self.controls.items()}
        self._holders = {name: holder for name, (_, holder) in built.items()}
        self._view = ipywidgets.HTML()
        self.draw = lambda values: _drawn(draw, values)
        self._draw = lru_cache(KEPT)(lambda values: self.draw(dict(values)))
        self.picture = self._draw(
            tuple(self.values.items())
        )  # an error here is raised, in the cell that is at fault
        self.first = self.picture
        self._show()
        for holder in self._holders.values():
            holder.observe(self._moved, "value")
        super().__init__([*(box for box, _ in built.values()), self._view])

    @property
    def values(self) -> dict:
        """The present setting, name -> value.  A slider counts its steps in floats, 0.9 + 0.02 =
        0.9200000000000002, and its box says 0.92 a moment later: that is one setting and not two."""
        values = {name: holder.value for name, holder in self._holders.items()}
        return {name: round(v, DIGITS) if isinstance(v, float) else v for name, v in values.items()}

    def _moved(self, change):
        values = self.values
        try:
            self.picture = self._draw(tuple(values.items()))
        except (
            Exception
        ) as error:  # any error of the drawing belongs on the page, not in a log that nobody reads
            setting = ", ".join(f"{name} = {value}" for name, value in values.items())
            words = html.escape(f"No picture for {setting}: {error or type(error).__name__}")
            self._view.value = f'<p role="alert" style="color:#a00000">{words}</p>'
        else:
            self._show()

    def _show(self):
        data = base64.b64encode(self.picture.png).decode()
        alt = html.escape(self.picture.alt, quote=True)
        self._view.value = f'<img alt="{alt}" src="data:image/png;base64,{data}" style="max-width:100%">'

    def _repr_mimebundle_(self, include=None, exclude=None, **options):
        data, metadata = self.first._repr_mimebundle_()
        live = super()._repr_mimebundle_(include=include, exclude=exclude, **options)
        live = live[0] if isinstance(live, tuple) else live
        return data | {VIEW: live[VIEW]}, metadata

    def __repr__(self):
        return self.first.alt


def _drawn(draw, values):
    picture = draw(**values)
    if not isinstance(picture, Picture):
        raise ValueError(f"draw must return a Picture (book.plots), got {type(picture).__name__}")
    picture.png  # noqa: B018 - drawn now, so that an error while drawing appears here too
    return picture


def explore(draw: Callable[..., Picture], **controls) -> Explorer:
    """A picture with controls. ``draw(**values)`` returns a :class:`book.plots.Picture` for a setting.

    controls: name -> :class:`Slider`, :class:`Choice`, ``(low, high, value)``, a list or dict of options, or
    a bool. Each picture is kept, so going back to a setting is free: ``draw`` must give the same picture for
    the same values. An error in ``draw`` is raised for the first picture, and shown as one sentence when a
    control moves later. Raises ValueError for a control that is none of these or holds no valid value.
    """
    return Explorer(draw, controls)
