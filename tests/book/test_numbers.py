"""The numbers of an experiment, as a notebook shows them."""

from functools import cache, partial

import pytest

from book.numbers import Numbers, show, source_of, told


@cache
def gaps(scale=1):
    """An experiment for these tests."""
    return {"largest <gap>": 0.5 * scale, "of": 1234, "rounding": 1e-17}


def test_a_number_is_told_alike_everywhere():
    assert [told(v) for v in (1234567, 0.123456, -3e-12, 2.0, "nan")] == [
        "1,234,567",
        "0.1235",
        "below 1e-9",
        "2",
        "nan",
    ]


def test_the_table_has_a_caption_units_what_is_right_and_the_source():
    shown = show(gaps, caption="A  gap\nand its like", unit={"largest <gap>": "nats"}, right={"of": 1000})
    page = shown._repr_html_()
    assert "<caption" in page and "A gap and its like" in page and "largest &lt;gap&gt;" in page
    assert "0.5 nats" in page and "1,000" in page and "would be right" in page
    assert "<details><summary>" in page and "def gaps(scale=1):" in page and "@cache" not in page
    assert repr(shown).splitlines() == [
        "A gap and its like",
        f"{'largest <gap>':52s} 0.5 nats",
        f"{'of':52s} 1,234   (right: 1,000)",
        f"{'rounding':52s} below 1e-9",
    ]


def test_an_experiment_with_arguments_and_a_dict():
    assert show(partial(gaps, 3), {"more": 1}, caption="c").rows["largest <gap>"] == 1.5
    assert source_of(partial(gaps, 3)).startswith("def gaps")
    assert "<details>" not in show({"more": 1}, caption="c")._repr_html_()


def test_without_a_caption_lines_are_printed(capsys):
    assert show(gaps(), {"more": 2}) is None
    assert capsys.readouterr().out.splitlines()[-1] == f"{'more':52s} 2"


def test_a_unit_of_no_row_is_refused():
    with pytest.raises(ValueError, match="there is no row 'off'; there are largest <gap>, of, rounding"):
        Numbers([gaps], "c", right={"off": 1})


def test_a_spread_stands_behind_its_mean():
    found = {
        "a": 0.04932,
        "a, sd": 0.00236,
        "b": 21.375,
        "b, sd": 0.744,
        "c": 1.0,
        "c, sd": 0.0,
        "d, sd": 2.0,
    }
    shown = Numbers([found], "means", right={"a": 0})
    assert [row[:2] for row in shown.cells()] == [
        ("a", "0.0493 ± 0.0024"),
        ("b", "21.38 ± 0.74"),
        ("c", "1"),
        ("d, sd", "2"),
    ]


def test_names_of_two_parts_are_rows_and_columns():
    found = {"DDIM, 10 steps": 0.1, "DDIM, 20 steps": 0.2, "DDIM, 20 steps, sd": 0.02, "DDPM, 10 steps": 0.3}
    shown = show(
        found, caption="c", columns=", ", right=dict.fromkeys(("DDIM, 10 steps", "DDIM, 20 steps"), 0.25)
    )
    assert shown.table() == (
        ["", "10 steps", "20 steps", "would be right"],
        [["DDIM", "0.1", "0.200 ± 0.020", "0.25"], ["DDPM", "0.3", "", ""]],
    )
    assert "DDIM  0.1       0.200 ± 0.020  0.25" in repr(shown)
    assert shown._repr_html_().count("<td") == 6 and shown._repr_html_().count("<th ") == 6
    mixed = show(found, caption="c", columns=", ", right={"DDIM, 10 steps": 0.25})
    assert mixed.table()[0] == ["", "10 steps (would be right)", "20 steps"]
    assert mixed.table()[1][0] == ["DDIM", "0.1 (0.25)", "0.200 ± 0.020"]
    with pytest.raises(
        ValueError, match="columns must separate every name, and '; ' is not in 'DDIM, 10 steps'"
    ):
        show(found, caption="c", columns="; ")


def test_a_folded_table_shows_its_caption_alone():
    shown = show({"a": 1}, caption="for <later>", folded=True)
    assert shown._repr_html_().startswith("<details><summary>for &lt;later&gt;</summary><table")
    assert shown._repr_html_().endswith("</details>") and "<caption" not in shown._repr_html_()
    assert repr(shown) == repr(show({"a": 1}, caption="for <later>"))


def test_a_drawn_experiment_shows_its_picture_and_then_its_source_folded(monkeypatch):
    from IPython import display

    shown = []
    monkeypatch.setattr(display, "display", lambda what, **how: shown.append((what, how)))

    def one():
        return {"a": 1}

    def two():
        return "<a>", "b"

    for experiment, wanted in ((one, [{"a": 1}]), (two, ["<a>", "b"])):
        show(experiment, draw=lambda *found: list(found))._ipython_display_()
        picture, source = shown[-2:]
        assert picture == (wanted, {})
        assert source[0]["text/html"].startswith("<details>") and source[1] == {"raw": True}
        assert source[0]["text/plain"] == "" and "return" in source[0]["text/html"]
    assert "&lt;a&gt;" in shown[-1][0]["text/html"]
    assert repr(show(one, draw=str)) == repr("{'a': 1}")
