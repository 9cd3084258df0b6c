"""The types that values are asked for in, by name: the libraries need not be installed, and annotations may be text."""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

TABLE_TYPES = ("pyarrow.Table", "pyarrow.RecordBatchReader", "Iterator", "pandas.DataFrame", "polars.DataFrame")
"""Names of types that a table is given as, and only a table; see `type_name`."""

_OPTIONAL = re.compile(r"(?:typing\.)?Optional\[(.+)\]|(.+?)\s*\|\s*None")
_LIST = re.compile(r"(?:typing\.)?(?:list|List|Sequence)\[(.+)\]")


def type_name(as_type: Any) -> str:
    """A type, or an annotation of one, as the name it is known by; empty for any type.

    The libraries need not be installed, and an annotation may be text.
    """
    if not isinstance(as_type, str):
        # Of "X | None", X.
        members = [member for member in get_args(as_type) if member is not NoneType]
        if get_origin(as_type) in (Union, UnionType) and len(members) == 1:
            as_type = members[0]
    if as_type is None or as_type is Any:
        return ""
    text = as_type if isinstance(as_type, str) else _qualified(getattr(as_type, "__origin__", None) or as_type)
    optional = _OPTIONAL.fullmatch(text.strip("\"' "))
    text = (optional[1] or optional[2]) if optional else text
    bare = text.partition("[")[0].strip("\"' ")
    last = bare.rpartition(".")[2]
    if last in ("Table", "RecordBatchReader"):
        return f"pyarrow.{last}"
    if last == "DataFrame":
        return "polars.DataFrame" if bare.startswith(("polars", "pl.")) else "pandas.DataFrame"
    if last in ("Iterator", "Iterable", "Generator"):
        return "Iterator"
    return "" if last in ("Any", "object", "_empty") else last


def element_of(as_type: Any) -> Any:
    """Of ``list[X]``, also as text, the X; otherwise any type."""
    if isinstance(as_type, str):
        found = _LIST.fullmatch(as_type.strip("\"' "))
        return found[1] if found else None
    return next(iter(get_args(as_type)), None) if get_origin(as_type) is not None else None


def _qualified(cls: Any) -> str:
    module = getattr(cls, "__module__", "").partition(".")[0]
    name = getattr(cls, "__qualname__", str(cls))
    return name if module in ("builtins", "typing", "collections") else f"{module}.{name}"
