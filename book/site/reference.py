"""The toolkit's reference: a page for each public module, made of its docstrings as they stand.

The docstrings are plain text: paragraphs; indented blocks, which are formulas or code and stay as they are;
names in single backticks, which become links; and lines `name: what it is`, one for each parameter.
"""

import html
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

PARAMETER = re.compile(r"(?m)(?:^|(?<=\.  ))(?=\w+(?:, \w+)*: )")  # at a line's start, or after two spaces
HANGING = re.compile(r"(?m)^(\w+(?:, \w+)*: .*)\n +(?=\S)")  # the second line of a parameter, moved in


@dataclass(frozen=True)
class Thing:
    """A public name of a module: its dotted name, the object, and how deep it lies (1: of the module)."""

    name: str
    thing: object
    depth: int

    @property
    def anchor(self) -> str:
        return self.name.replace("_", "-").replace(".", "-")


def modules() -> list[str]:
    """The public modules, dotted, in alphabetical order."""
    import toolkit

    names = [one.name for one in pkgutil.iter_modules(toolkit.__path__) if not one.name.startswith("_")]
    return [module for name in sorted(names) if any(things(module := f"toolkit.{name}"))]


def things(module: str) -> Iterator[Thing]:
    """The public functions, classes and samplers that a module defines, in the order of its source, each
    class followed by its methods that have a docstring."""
    from toolkit.sampling import Sampler

    for name, thing in vars(import_module(module)).items():
        loop = thing.loop if isinstance(thing, Sampler) else thing
        if name.startswith("_") or getattr(loop, "__module__", None) != module:
            continue
        if not (inspect.isfunction(loop) or inspect.isclass(loop)):
            continue
        yield Thing(f"{module}.{name}", thing, 1)
        if inspect.isclass(thing):
            for part, method in vars(thing).items():
                method = getattr(method, "__func__", method)
                if not part.startswith("_") and (inspect.isfunction(method) or isinstance(method, property)):
                    if method.__doc__:
                        yield Thing(f"{module}.{name}.{part}", method, 2)


def pages() -> dict[str, str]:
    """Page name -> Markdown, the list of all modules first."""
    contents = {module: list(things(module)) for module in modules()}
    known = {}
    for module, found in contents.items():
        for one in found:
            for called in (one.name, one.name.removeprefix("toolkit."), one.name.rpartition(".")[2]):
                known.setdefault(called, f"{module}.html#{one.anchor}")
    for module in contents:
        known[module] = f"{module}.html"
        known.setdefault(module.removeprefix("toolkit."), f"{module}.html")
    made = {"reference/index": _overview(contents)}
    for module, found in contents.items():
        parts = [_module(module, known), *(_entry(one, known) for one in found)]
        made[f"reference/{module}"] = "\n\n".join(parts)
    return made


def _overview(contents):
    import toolkit

    rows = "\n".join(
        f"| [`{module}`]({module}.md) | {_first(import_module(module).__doc__)} |" for module in contents
    )
    table = f"| module | what it is about |\n|---|---|\n{rows}"
    tree = "```{toctree}\n:hidden:\n\n" + "\n".join(contents) + "\n```\n"
    return f"# The toolkit\n\n{_html(toolkit.__doc__, {})}\n\n{table}\n\n{tree}"


def _first(doc):
    """The first sentence of a docstring, safe in a table of Markdown."""
    said = " ".join(inspect.cleandoc(doc or "").split("\n\n")[0].split())
    return re.sub(r"([\\*_|<>$\[\]])", r"\\\1", re.split(r"(?<=[a-z)])\.\s", said)[0].rstrip("."))


def _module(module, known):
    return f"# {module}\n\n{_html(import_module(module).__doc__, known)}"


def _entry(one, known):
    thing, short = one.thing, one.name.rpartition(".")[2]
    loop = getattr(thing, "loop", thing)
    kind = "class " if inspect.isclass(loop) else ""
    promises = _promises(thing) if loop is not thing else ""
    signature = "" if isinstance(loop, property) else f"```python\n{kind}{short}{_signature(loop)}\n```\n\n"
    mark, title = f'<div class="anchor" id="{one.anchor}"></div>', short.replace("_", r"\_")
    head = f"{mark}\n\n{'#' * (one.depth + 1)} {title}"
    return f"{head}\n\n{signature}{promises}{_html(loop.__doc__, known)}"


def _signature(thing):
    try:
        shown = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return "(...)"
    shown = re.sub(r"<(?:function|class) '?(?:[\w.]+\.)?(\w+)'?[^<>]*>", r"\1", shown)
    return re.sub(r"<[^<>]*(?:<[^<>]*>[^<>]*)*>", "...", shown)  # what has no name, such as a lambda


def _promises(sampler):
    """What a registered sampler promises, in a line."""
    order = f"of order {sampler.order}" if sampler.order else "of no order"
    noise = "draws noise" if sampler.random else "draws no noise"
    cite = f'; from <a href="../bibliography.html#{sampler.cite}">{sampler.cite}</a>' if sampler.cite else ""
    return f'<p class="promises">A sampler of kind “{sampler.kind}”, {order}, {noise}{cite}.</p>\n\n'


def _html(doc, known):
    """A docstring as HTML."""
    if not doc:
        return ""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(doc).rstrip())
    return '<div class="docstring">\n' + "\n".join(_block(block, known) for block in blocks) + "\n</div>"


def _block(block, known):
    """A paragraph, a list of parameters, or what is indented: the lines before it are prose."""
    while HANGING.search(block):
        block = HANGING.sub(r"\1 ", block)
    lines = block.split("\n")
    start = next((n for n, line in enumerate(lines) if line.startswith("   ")), len(lines))
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("   ")), len(lines))
    parts = PARAMETER.split("\n".join(lines[:start]))
    made = "".join(f"<p>{_inline(part.strip(), known)}</p>" for part in parts if part.strip())
    if start < len(lines):
        formula = textwrap.dedent("\n".join(lines[start:end]))
        made += f"<pre>{html.escape(formula)}</pre>"
    return made + (_block("\n".join(lines[end:]), known) if end < len(lines) else "")


def _inline(text, known):
    """Text with the names in backticks as code, those of the toolkit as links."""

    def code(name):
        shown = f"<code>{html.escape(name)}</code>"
        return f'<a href="{known[name]}">{shown}</a>' if name in known else shown

    parts = re.split(r"``?([^`]+)``?", text)
    text = "".join(code(part) if n % 2 else html.escape(part) for n, part in enumerate(parts))
    return re.sub(r"^((?:\w+(?:, \w+)*)): ", r"<b>\1</b>: ", text)
