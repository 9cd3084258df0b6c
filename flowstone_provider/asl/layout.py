"""Python source laid out as ruff lays it out, so that a generated file is one that a person would keep."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

_WIDTH = 120

# A string statement that begins so is a comment: texts of a state machine that `plain` has seen have no such character.
COMMENT = "\x00"


def plain(text: str) -> str:
    """A text of the state machine without control characters and trailing blanks, for docstrings and comments."""
    lines = "".join(c if c == "\n" or c.isprintable() else "?" for c in text.expandtabs(4)).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def comment(text: str) -> str:
    """A statement that becomes a comment of one line."""
    return repr(COMMENT + " ".join(plain(text).split()))


def laid_out(source: str) -> str:
    """The same program, formatted; see `COMMENT` for its comments."""
    tree = ast.parse(source)
    for _ in range(2):  # what reads a variable may itself go
        tree = _Tidy().visit(tree)
    lines = list(_body(tree.body, 0, module=True))
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A string with double quotes, unless the other ones save escapes."""
    single = repr(text)
    if text.count('"') > text.count("'") or single[0] == '"':
        return single if single[0] == "'" or '"' not in text else repr(text)
    return '"' + single[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'


class _Strings(ast.NodeTransformer):
    """Puts a name in the place of each string: `ast.unparse` would choose the quotes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str):
            return node
        self.texts.append(_quoted(node.value))
        return ast.Name(id=f"__string_{len(self.texts) - 1}__", ctx=ast.Load())


class _Tidy(ast.NodeTransformer):
    """Leaves out variables that nothing reads, and writes ``x not in y`` for ``not x in y``."""

    _OPPOSITE: ClassVar[dict[type[ast.cmpop], type[ast.cmpop]]] = {
        ast.In: ast.NotIn,
        ast.Is: ast.IsNot,
        ast.Eq: ast.NotEq,
    }

    def __init__(self) -> None:
        self._read: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """What a function reads, those within it included."""
        before = self._read
        names = (each for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load))
        self._read = before | {each.id for each in names}
        self.generic_visit(node)
        self._read = before
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """An assignment without the variables that are not read; of a call the call alone."""
        self.generic_visit(node)
        target = node.targets[0]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=True)
            kept = [(name, value) for name, value in pairs if isinstance(name, ast.Name) and name.id in self._read]
            if len(kept) == 1:
                return ast.Assign([kept[0][0]], kept[0][1])
            return node if kept else None
        if not isinstance(target, ast.Name) or target.id in self._read:
            return node
        if isinstance(node.value, ast.Call):
            return ast.Expr(node.value)
        # What calls something is done for its effect.
        return node if any(isinstance(each, ast.Call) for each in ast.walk(node.value)) else None

    def visit_With(self, node: ast.With) -> ast.AST:
        """A group without a name that is not read."""
        self.generic_visit(node)
        name = node.items[0].optional_vars
        if isinstance(name, ast.Name) and name.id not in self._read:
            node.items[0].optional_vars = None
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """A comparison that is turned round."""
        self.generic_visit(node)
        inner = node.operand
        if isinstance(node.op, ast.Not) and isinstance(inner, ast.Compare) and type(inner.ops[0]) in self._OPPOSITE:
            return ast.Compare(inner.left, [self._OPPOSITE[type(inner.ops[0])]()], inner.comparators)
        return node


def _flat(node: ast.AST) -> str:
    """An expression on one line."""
    if isinstance(node, ast.Starred):
        return f"*{_flat(node.value)}"
    strings = _Strings()
    text = ast.unparse(strings.visit(ast.parse(ast.unparse(node), mode="eval")))
    return re.sub(r"__string_(\d+)__", lambda match: strings.texts[int(match[1])], text)


def _expression(node: ast.expr, indent: int, before: int, after: int = 0) -> list[str]:
    """An expression in as many lines as it needs: `before` characters stand before it, `after` behind it."""
    flat = _flat(node)
    if indent + before + len(flat) + after <= _WIDTH:
        return [flat]
    if isinstance(node, ast.Call) and (node.args or node.keywords):
        items: list[tuple[str, ast.expr]] = [("", each) for each in node.args]
        items += [(f"{each.arg}=" if each.arg else "**", each.value) for each in node.keywords]
        return _bracketed(_flat(node.func) + "(", ")", items, indent)
    if isinstance(node, ast.Dict) and node.keys:
        pairs = zip(node.keys, node.values, strict=True)
        return _bracketed("{", "}", [(f"{_flat(k)}: " if k else "**", v) for k, v in pairs], indent)
    if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        ends = "[]" if isinstance(node, ast.List) else "()"
        return _bracketed(ends[0], ends[1], [("", each) for each in node.elts], indent)
    if isinstance(node, ast.ListComp):
        return ["[", *_comprehension(node, indent), " " * indent + "]"]
    return [flat]


def _comprehension(node: ast.ListComp, indent: int) -> Iterator[str]:
    inner = " " * (indent + 4)
    first, *more = _expression(node.elt, indent + 4, 0)
    yield inner + first
    yield from more
    for each in node.generators:
        yield f"{inner}for {_flat(each.target).strip('()')} in {_flat(each.iter)}"
        yield from (f"{inner}if {_flat(test)}" for test in each.ifs)


def _bracketed(start: str, end: str, items: Sequence[tuple[str, ast.expr]], indent: int) -> list[str]:
    lines = [start]
    for prefix, node in items:
        first, *more = _expression(node, indent + 4, len(prefix), 1)
        lines += [" " * (indent + 4) + prefix + first, *more]
        lines[-1] += ","
    return [*lines, " " * indent + end]


def _line(indent: int, start: str, node: ast.expr, end: str = "") -> Iterator[str]:
    """A statement of words around one expression."""
    lines = _expression(node, indent, len(start), len(end))
    lines[0] = " " * indent + start + lines[0]
    lines[-1] += end
    yield from lines


def _docstring(text: str, indent: int) -> Iterator[str]:
    pad = " " * indent
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    first, *more = text.split("\n")
    last = ' """' if text.endswith('"') and not more else '"""'
    if not more:
        yield f'{pad}"""{first}{last}'
        return
    yield f'{pad}"""{first}'
    yield from (pad + line if line else "" for line in more)
    yield f'{pad}"""'


def _body(body: Sequence[ast.stmt], indent: int, *, module: bool = False, docstring: bool = False) -> Iterator[str]:
    before: ast.stmt | None = None
    for number, node in enumerate(body):
        text = node.value.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else None
        is_text = isinstance(text, str)
        if before is not None:
            yield from [""] * _gap(before, node, module=module)
        if is_text and str(text).startswith(COMMENT):
            yield f"{' ' * indent}# {str(text)[1:]}"
        elif is_text and number == 0 and (docstring or module):
            yield from _docstring(str(text), indent)
        else:
            yield from _statement(node, indent)
        before = node


def _gap(before: ast.stmt, node: ast.stmt, *, module: bool) -> int:
    last = before
    while isinstance(last, ast.With):
        last = last.body[-1]
    if isinstance(last, ast.FunctionDef) or isinstance(node, ast.FunctionDef):
        return 2 if module else 1
    if not module:
        return 0
    imports = [_imported(each) for each in (before, node)]
    return 0 if imports[0] is not None and imports[0] == imports[1] else 1


def _imported(node: ast.stmt) -> bool | None:
    """Whether an import is one of the standard library."""
    if isinstance(node, ast.ImportFrom):
        return str(node.module).partition(".")[0] in sys.stdlib_module_names
    return True if isinstance(node, ast.Import) else None


def _statement(node: ast.stmt, indent: int) -> Iterator[str]:
    writer: Callable[..., Iterator[str]] | None = _WRITERS.get(type(node))
    if writer is None:
        raise NotImplementedError(f"layout of {type(node).__name__}")
    yield from writer(node, indent)


def _function(node: ast.FunctionDef, indent: int) -> Iterator[str]:
    pad = " " * indent
    for decorator in node.decorator_list:
        yield from _line(indent, "@", decorator)
    arguments = ast.unparse(node.args)
    returns = f" -> {_flat(node.returns)}" if node.returns else ""
    line = f"{pad}def {node.name}({arguments}){returns}:"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield f"{pad}def {node.name}("
        yield from (f"{pad}    {each}," for each in arguments.split(", "))
        yield f"{pad}){returns}:"
    yield from _body(node.body, indent + 4, docstring=True)


def _with(node: ast.With, indent: int) -> Iterator[str]:
    item = node.items[0]
    name = f" as {_flat(item.optional_vars)}" if item.optional_vars else ""
    yield from _line(indent, "with ", item.context_expr, f"{name}:")
    yield from _body(node.body, indent + 4)


def _if(node: ast.If, indent: int) -> Iterator[str]:
    test = node.test
    if isinstance(test, ast.BoolOp) and indent + len(_flat(test)) + len("if :") > _WIDTH:
        first, rest = test.values[0], test.values[1:]
        more = rest[0] if len(rest) == 1 else ast.BoolOp(test.op, rest)
        if isinstance(test.op, ast.And):
            yield from _if(ast.If(first, [ast.If(more, node.body, [])], []), indent)
        else:
            for each in (first, more):
                yield from _if(ast.If(each, node.body, []), indent)
        return
    yield from _line(indent, "if ", node.test, ":")
    yield from _body(node.body, indent + 4)


def _try(node: ast.Try, indent: int) -> Iterator[str]:
    yield " " * indent + "try:"
    yield from _body(node.body, indent + 4)
    for handler in node.handlers:
        name = f" as {handler.name}" if handler.name else ""
        yield f"{' ' * indent}except {_flat(handler.type) if handler.type else ''}{name}:"
        yield from _body(handler.body, indent + 4)


def _assign(node: ast.Assign, indent: int) -> Iterator[str]:
    target = node.targets[0]
    names = ", ".join(map(_flat, target.elts)) if isinstance(target, ast.Tuple) else _flat(target)
    value = node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield f"{' ' * indent}{names} = {', '.join(map(_flat, value.elts))}"
    else:
        yield from _line(indent, f"{names} = ", value)


def _import_from(node: ast.ImportFrom, indent: int) -> Iterator[str]:  # noqa: ARG001
    names = [f"{each.name} as {each.asname}" if each.asname else each.name for each in node.names]
    line = f"from {node.module} import {', '.join(names)}"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield f"from {node.module} import ("
        yield from (f"    {name}," for name in names)
        yield ")"


_WRITERS: dict[type[ast.stmt], Callable[..., Iterator[str]]] = {
    ast.FunctionDef: _function,
    ast.With: _with,
    ast.If: _if,
    ast.Try: _try,
    ast.Assign: _assign,
    ast.ImportFrom: _import_from,
    ast.Import: lambda node, indent: iter([" " * indent + ast.unparse(node)]),
    ast.Raise: lambda node, indent: (
        _line(indent, "raise ", node.exc, f" from {_flat(node.cause)}" if node.cause else "")
        if node.exc
        else iter([" " * indent + "raise"])
    ),
    ast.Return: lambda node, indent: (
        _line(indent, "return ", node.value) if node.value else iter([" " * indent + "return"])
    ),
    ast.Expr: lambda node, indent: _line(indent, "", node.value),
    ast.For: lambda node, indent: iter(
        [
            f"{' ' * indent}for {_flat(node.target)} in {_flat(node.iter)}:",
            *_body(node.body, indent + 4),
        ]
    ),
}
