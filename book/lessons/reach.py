"""What a piece of code needs, by name: the names that it reads, and the statements that bind them.

The probes are kept apart from the answers by this, and the answers from the rest of a solution notebook.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Iterator

IMPORTS = (ast.Import, ast.ImportFrom)


def reads(node: ast.AST) -> set[str]:
    """The names of its module that a piece of code reads."""
    top, inner = _tables(node)
    read = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    return read | {
        symbol.get_name() for table in inner for symbol in table.get_symbols() if symbol.is_global()
    }


def binds(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module defines, or changes (`X["a"] = 1`, `X.a = 1`)."""
    top, _ = _tables(statement)
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    for node in ast.walk(statement) if isinstance(statement, (ast.Assign, ast.AugAssign)) else ():
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            while isinstance(node, (ast.Subscript, ast.Attribute)):
                node = node.value
            bound |= {node.id} if isinstance(node, ast.Name) else set()
    return bound


def bindings(statements: Iterable[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """{name: the statements that bind it, in order}; the same order of names in every process."""
    bound: dict[str, list[ast.stmt]] = {}
    for statement in statements:
        for name in sorted(binds(statement)):
            bound.setdefault(name, []).append(statement)
    return bound


def reached(names: Iterable[str], bound: dict[str, list[ast.stmt]]) -> Iterator[tuple[str, list[ast.stmt]]]:
    """(name, the statements that bind it) of these names and, in turn, of all that those statements read.

    bound: as `bindings` gives it.  A name that nothing there binds comes with an empty list; an import, cut
    down to the one name.
    """
    done, waiting = set(), set(names)
    while waiting:
        name = min(waiting)
        done.add(name)
        statements = [part for statement in bound.get(name, ()) for part in kept(statement, {name})]
        yield name, statements
        waiting = (waiting | set().union(*map(reads, statements))) - done


def kept(statement: ast.stmt, needed: set[str]) -> Iterator[ast.stmt]:
    """The statement, as far as it binds what is needed: once or not at all; an import, cut down to that."""
    if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
        yield statement
    elif isinstance(statement, IMPORTS):
        names = [a for a in statement.names if (a.asname or a.name.partition(".")[0]) in needed]
        if names:
            more = (
                {"module": statement.module, "level": statement.level} if hasattr(statement, "module") else {}
            )
            yield type(statement)(names=names, **more)
    elif needed & binds(statement):
        yield statement


def _tables(node: ast.AST) -> tuple[symtable.SymbolTable, list[symtable.SymbolTable]]:
    """The symbol table of a piece of code, and those of all functions and classes in it."""
    top = symtable.symtable(ast.unparse(node), "code", "exec")
    inner, waiting = [], top.get_children()
    while waiting:
        table = waiting.pop()
        inner.append(table)
        waiting += table.get_children()
    return top, inner
