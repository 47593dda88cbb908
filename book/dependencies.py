"""What a cell of a notebook stands on: cells before it, and definitions of ours that they reach.

Two questions are answered from the source alone, without running it. Which cells must run so that a cell can
(`standing_on`): those that bind a name which it, or a later one of these, uses. And would the cell still show
the same (`digest`): a hash of those cells and of each function, class and constant of `book` and `toolkit`
that they reach by name, through imports. Comments, docstrings and the layout of the code change no hash. What
is reached in another way is not seen: a value changed in place by a cell that binds nothing, a function found
in a table by a string that is made while running, a file that is read.
"""

import ast
import contextlib
import hashlib
import io
import symtable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("book", "toolkit")
BINDS = (ast.Assign, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)  # whatever happens


# --- cells ----------------------------------------------------------------------------------------------


def names(source: str) -> tuple[set[str], set[str]]:
    """``(names that a piece of top-level code binds, names that it uses)``; names of inner scopes, such as
    the variable of a comprehension, are in neither.
    """
    top = symtable.symtable(source, "cell", "exec")
    symbols = top.get_symbols()
    bound = {one.get_name() for one in symbols if one.is_assigned() or one.is_imported()}
    used = {one.get_name() for one in symbols if one.is_referenced()}
    inner = list(top.get_children())
    for scope in inner:
        used |= {one.get_name() for one in scope.get_symbols() if one.is_global() and one.is_referenced()}
        inner += scope.get_children()
    return bound, used


def _before(source, wanted):
    """The names that must be there before the code runs, so that it runs and leaves `wanted`."""
    for statement in reversed(ast.parse(source).body):
        bound, used = names(ast.unparse(statement))
        wanted = (wanted - bound if isinstance(statement, BINDS) else wanted) | used
    return wanted


def standing_on(cells, ends) -> list:
    """The code cells, in their order, that those with ``ends(cell)`` stand on, and these themselves.

    cells: of a notebook. ends: which cells must run. A cell runs as a whole or not at all.
    """
    wanted, kept = set(), []
    for cell in reversed([cell for cell in cells if cell.cell_type == "code"]):
        if ends(cell) or names(cell.source)[0] & wanted:
            wanted = _before(cell.source, wanted)
            kept.insert(0, cell)
    return kept


def run(cells, show=False) -> dict:
    """Run code cells one after another, and return {cell id: value of its last line, None without one}.

    cells: such as `standing_on` gives. show: let them print; otherwise what they print is dropped.
    """
    space, values = {"__name__": "__main__"}, {}
    with contextlib.nullcontext() if show else contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, cell.id, "exec"), space)
            values[cell.id] = last and eval(compile(ast.Expression(last.value), cell.id, "eval"), space)
    return values


# --- definitions ----------------------------------------------------------------------------------------


def digest(cells) -> str:
    """A hash, 16 hexadecimal digits, of the code of these cells and of what it reaches in our packages."""
    statements = [statement for cell in cells for statement in ast.parse(cell.source).body]
    scope = _scope(statements)
    texts = [_text(statement) for statement in statements]
    seen, found = set(), [one for statement in statements for one in _reached(statement, scope, "")]
    while found:
        one = found.pop()
        if one not in seen:
            seen.add(one)
            found += _definition(*one)[1]
    texts += [f"{module}.{name} {_definition(module, name)[0]}" for module, name in sorted(seen)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


@cache
def _definition(module, name):
    """``(text, what it reaches)`` of a top-level name of a module of ours; of the module, if name is ""."""
    scope = _module(module)
    if not name:
        return "", [(module, one) for one in scope]
    if name not in scope and _file(module).name == "__init__.py":  # `toolkit` loads its names on first use
        inner = [f"{module}.{file.stem}" for file in sorted(_file(module).parent.glob("[!_]*.py"))]
        return "", [(one, name) for one in inner if name in _module(one)]
    texts, reached = [], []
    for statement in scope.get(name, ()):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            reached += _imported(statement, name, [])
        else:
            texts.append(_text(statement))
            reached += _reached(statement, scope, module)
    return "\n".join(texts), reached


@cache
def _file(module):
    """The file of a module of ours, or None."""
    path = ROOT.joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if module.split(".")[0] in OURS and file.is_file()), None)


@cache
def _module(module):
    return _scope(ast.parse(_file(module).read_text("utf8")).body)


def _scope(statements):
    """{name: the top-level statements that bind it}."""
    scope = {}
    for statement in statements:
        for name in _bound(statement):
            scope.setdefault(name, []).append(statement)
    return scope


def _bound(statement):
    """Names that a statement binds; those inside an ``if`` or a loop too, those inside a function not."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.split(".")[0] for alias in statement.names}
    stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    inner = (_bound(node) for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt))
    return {node.id for node in stored if isinstance(node.ctx, ast.Store)}.union(*inner)


def _reached(statement, scope, module):
    """``(module, name)`` of ours for each name that a statement of `module` uses; "" is a whole module."""
    for dotted in _used(statement):
        first, *rest = dotted.split(".")
        for binding in scope.get(first, ()):
            if isinstance(binding, (ast.Import, ast.ImportFrom)):
                yield from _imported(binding, first, rest)
            elif module:
                yield module, first


def _imported(statement, name, rest):
    """Where the attribute `rest` of a name leads that an import binds: none or one of ``(module, name)``."""
    for alias in statement.names:
        if (alias.asname or alias.name.split(".")[0]) == name:
            within = [statement.module] if isinstance(statement, ast.ImportFrom) else []
            path = ".".join([*within, alias.name if within or alias.asname else name, *rest]).split(".")
            for length in range(len(path), 0, -1):
                if _file(".".join(path[:length])):
                    yield ".".join(path[:length]), "".join(path[length : length + 1])
                    break


def _used(node):
    """Names in a tree, each with the attributes asked of it: "experiments.field", "x"."""
    parts, inner = [], node
    while isinstance(inner, ast.Attribute):
        parts.insert(0, inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield ".".join([inner.id, *parts])
    else:
        for child in ast.iter_child_nodes(inner):
            yield from _used(child)


def _text(statement):
    """The code of a statement without comments and docstrings, laid out in one way."""
    for node in ast.walk(statement):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            first.value.value = None
    return ast.unparse(statement)
