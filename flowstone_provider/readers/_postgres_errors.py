"""What PostgreSQL answers when it does not give what was asked for, in our errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowstone_provider.errors import (
    ReaderError,
    SourceAccessError,
    SourceNotFoundError,
    SourceUnavailableError,
)

# What SQLSTATE codes, or classes of them, mean (PostgreSQL's manual, "Appendix A. PostgreSQL Error Codes"); the first
# that fits counts.
_MEANINGS: list[tuple[type[ReaderError], str, tuple[str, ...]]] = [
    (SourceNotFoundError, "{said}", ("42P01", "3D000", "3F000")),
    (SourceAccessError, "{said}; grant it to the connection's user", ("42501",)),
    (SourceAccessError, "{said}; check the connection's login and password", ("28",)),
    (ReaderError, "the query writes: {said}; a source is only read", ("25006",)),
    (
        ReaderError,
        "{said}; a database with the encoding SQL_ASCII takes any bytes: convert them in the query, e.g. with "
        "convert_from(convert(convert_to(name, 'SQL_ASCII'), 'LATIN1', 'UTF8'), 'SQL_ASCII')",
        ("22021",),
    ),
    (SourceUnavailableError, "{said}; where a timeout did it, raise it for the connection's user", ("57014", "25P")),
    (SourceUnavailableError, "{said}", ("08", "40", "53", "55P03", "57", "58")),
]

# A server that refuses a connection says why, but neither driver gives the code of it.
_REFUSALS: list[tuple[type[ReaderError], str, re.Pattern[str]]] = [
    (
        SourceNotFoundError,
        "{said}; check the connection's schema, which is the name of the database",
        re.compile(r'database "[^"]*" does not exist'),
    ),
    (
        SourceAccessError,
        "{said}; check the connection's login and password",
        re.compile(
            r"authentication failed|no password supplied|role \"[^\"]*\" does not exist|no pg_hba\.conf entry"
            r"|not permitted to (log in|connect)|permission denied for database"
        ),
    ),
]

# Statements that a reader of a query sees as syntax errors, because a query stands within another.
_WRITES = {"ALTER", "CALL", "COPY", "CREATE", "DELETE", "DROP", "INSERT", "MERGE", "TRUNCATE", "UPDATE"}

_COMMENT = re.compile(r"\s+|--[^\n]*|/\*.*?\*/", re.DOTALL)


@contextmanager
def postgres_errors(server: str, query: str | None = None, offset: int = 0) -> Iterator[None]:
    """Turn what psycopg, version 2 or 3, raises into a `ReaderError`.

    Args:
        server: What messages call the server.
        query: The user's query, where the statement contains it.
        offset: The characters of the statement before the query.
    """
    try:
        yield
    except Exception as error:
        if not _names(error, module=True) & {"psycopg", "psycopg2"}:
            raise
        # psycopg 3 has a code in `sqlstate`, psycopg2 in `pgcode`.
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        raise _of_code(server, error, code, query, offset) if code else _without_code(server, error) from error


def _of_code(server: str, error: Any, code: str, query: str | None, offset: int) -> ReaderError:
    said = str(error.diag.message_primary or error).strip()
    if error.diag.message_hint:
        said += f" (hint: {error.diag.message_hint})"
    position = int(error.diag.statement_position or 0) - offset
    if query is not None and 0 < position <= len(query) + 1:
        before = query[: position - 1]
        said += f", in line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))} of the query"
    if query is not None and code == "42601" and (verb := _first_word(query)) in _WRITES:
        return ReaderError(
            f"{server}: the query is {verb} …; it must be one that only reads: SELECT or WITH", code=code
        )
    if code == "0A000" and "data-modifying" in said:
        return ReaderError(f"{server}: the query writes: {said}; a source is only read", code=code)
    for kind, text, codes in _MEANINGS:
        if code.startswith(codes):
            return kind(f"{server}: {text.format(said=said)}", code=code)
    return ReaderError(f"{server}: {said}", code=code)


def _without_code(server: str, error: Exception) -> ReaderError:
    said = " ".join(str(error).split()) or type(error).__name__
    for kind, text, pattern in _REFUSALS:
        if pattern.search(said):
            return kind(f"{server}: {text.format(said=said)}")
    if _names(error) & {"OperationalError", "InterfaceError"}:
        return SourceUnavailableError(f"{server}: {said}; check the connection's host and port, and the server")
    return ReaderError(f"{server}: {said}")


def _names(error: Exception, *, module: bool = False) -> set[str]:
    """The names of an exception's classes, or of the packages that these are from."""
    return {cls.__module__.partition(".")[0] if module else cls.__name__ for cls in type(error).__mro__}


def _first_word(query: str) -> str:
    start = 0
    while match := _COMMENT.match(query, start):
        start = match.end()
    return query[start:].partition(" ")[0].partition("\n")[0].upper()
