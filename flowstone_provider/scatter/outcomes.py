"""Outcome lines of items that did not succeed."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path
from traceback import extract_tb, format_list
from typing import Any

import orjson
import tenacity

# Frames of these folders say nothing about what the user's function did.
_NOT_THE_USERS = tuple(
    str(Path(str(file)).parent) for file in (Path(__file__).parent, tenacity.__file__, concurrent.futures.__file__)
)

_MESSAGE_LENGTH = 2_000
_TRACEBACK_FRAMES = 6


def failed_line(record: dict[str, Any], error: BaseException, attempts: int, seconds: float) -> bytes:
    """The outcome line of an item whose last attempt failed."""
    frames = [f for f in extract_tb(error.__traceback__) if not f.filename.startswith(_NOT_THE_USERS)]
    return (
        orjson.dumps(
            {
                "index": record["index"],
                "status": "failed",
                "item": record.get("item"),
                "source": record.get("source"),
                "error": {
                    "type": type(error).__name__,
                    "message": message_of(error),
                    "traceback": _text("".join(format_list(frames[-_TRACEBACK_FRAMES:]))),
                },
                "attempts": attempts,
                "duration": round(seconds, 6),
            }
        )
        + b"\n"
    )


def bad_line(record: dict[str, Any]) -> bytes:
    """The outcome line of a record that could not be read."""
    error = {"type": "BadRecordError", "message": record["bad"]["message"], "traceback": ""}
    outcome = {"index": record["index"], "status": "failed", "bad": record["bad"], "source": record.get("source")}
    return orjson.dumps({**outcome, "error": error, "attempts": 0, "duration": 0.0}) + b"\n"


def message_of(error: BaseException) -> str:
    """The text of an error, whatever its ``__str__`` does."""
    try:
        return _text(str(error))[:_MESSAGE_LENGTH]
    except Exception as broken:  # noqa: BLE001  (anything may come out of a user's __str__)
        return f"<str() of this {type(error).__name__} raises {type(broken).__name__}>"


def _text(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode()
