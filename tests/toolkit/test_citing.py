"""Each sampler's paper, and the command that prints it."""

import re

import pytest
from typer.testing import CliRunner

from book.__main__ import make_app
from toolkit.citing import BIBLIOGRAPHY, entries, entry
from toolkit.sampling import every_sampler


def test_every_sampler_has_an_entry_of_its_own_paper():
    for name, sampler in every_sampler().items():
        text = entry(name)
        assert text.startswith("@") and f"{{{sampler.cite},\n" in text and text.endswith("}\n}")
        assert text.count("{") == text.count("}") and "author = {" in text and "title = {" in text
    assert "Zhao, Wenliang" in entry("unipc") and "{DPM-Solver++}" in entry("dpmpp_2m")


def test_the_bibliography_loses_nothing_in_reading():
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    assert len(entries()) == len(re.findall("^@", text, re.MULTILINE))
    together = lambda one: re.sub(r"\s", "", one)
    assert together("".join(entries().values())) == together(text)


@pytest.mark.parametrize(
    "name, says",
    [
        ("dpmpp2m", "no sampler is called 'dpmpp2m'; did you mean dpmpp_2m or "),
        ("xyz", "'xyz'; there are .*ddim"),
    ],
)
def test_unknown_names_are_one_sentence(name, says):
    with pytest.raises(ValueError, match=says):
        entry(name)


def test_the_command_prints_the_entry_or_one_sentence():
    done = CliRunner().invoke(make_app(), ["cite", "deis"])
    assert (done.exit_code, done.stdout, done.stderr) == (0, entry("deis") + "\n", "")
    done = CliRunner().invoke(make_app(), ["cite", "diem"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("no sampler is called 'diem'") and done.stderr.count("\n") == 1
