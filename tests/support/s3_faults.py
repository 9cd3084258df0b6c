"""Answers of S3 that no test server gives when asked to."""

from __future__ import annotations

import io
import math
from typing import Any


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        yield self.read()


def answer_with(client: Any, operation: str, status: int, code: str, times: float = math.inf) -> list[str]:
    """Let a client get an error in the place of an answer.

    Args:
        client: Of boto3.
        operation: Such as ``"ListObjectsV2"``.
        status: Of HTTP.
        code: S3's name of the error.
        times: How often; then the server is asked.

    Returns:
        The URLs that were asked for in vain; grows.
    """
    from botocore.awsrequest import AWSResponse

    asked: list[str] = []

    def answer(request: Any, **_: Any) -> AWSResponse | None:
        if len(asked) >= times:
            return None
        asked.append(request.url)
        body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        return AWSResponse(request.url, status, {}, _Raw(body))

    client.meta.events.register(f"before-send.s3.{operation}", answer)
    return asked


def requests_of(client: Any) -> list[tuple[str, dict[str, str]]]:
    """The requests that a client makes from now on: operation and headers; grows."""
    made: list[tuple[str, dict[str, str]]] = []

    def note(request: Any, operation_name: str, **_: Any) -> None:
        headers = {
            name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
        }
        made.append((operation_name, headers))

    client.meta.events.register("request-created.s3", note)
    return made
