"""What AWS answers when it does not give what was asked for, in our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowstone_provider.errors import (
    FlowstoneError,
    ReaderError,
    SourceAccessError,
    SourceChangedError,
    SourceNotFoundError,
    SourceUnavailableError,
)

# What error codes of S3 and DynamoDB mean (their API references, "List of error codes" and "Error handling with
# DynamoDB"). HEAD requests have no body: there botocore gives the status as code.
_MEANINGS: list[tuple[type[ReaderError], str, set[str]]] = [
    (
        SourceNotFoundError,
        "{what} does not exist ({said})",
        {"NoSuchBucket", "NoSuchKey", "NoSuchVersion", "ResourceNotFoundException", "404"},
    ),
    (
        SourceAccessError,
        "no permission to read {what} ({operation}: {said}); allow it to the connection's user",
        {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "403"},
    ),
    (
        SourceAccessError,
        "cannot read {what}: the credentials are wrong ({said}); check the connection's key and secret",
        {
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "InvalidToken",
            "MissingAuthenticationTokenException",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        },
    ),
    (
        SourceUnavailableError,
        "cannot read {what}: the credentials have expired ({said}); renew those of the connection",
        {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"},
    ),
    (
        SourceUnavailableError,
        "reading {what} was throttled, also after several tries ({said}); lower max_active_batches, or raise `retries` "
        "in the connection's config_kwargs",
        {
            "LimitExceededException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "SlowDown",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        },
    ),
    (
        SourceAccessError,
        "{what} is archived ({said}); restore it first, or leave it out by `prefix` or `suffix`",
        {"InvalidObjectState"},
    ),
    (
        SourceChangedError,
        "{what} was written anew since it was listed ({said}); clear the plan task to plan anew",
        {"PreconditionFailed", "412"},
    ),
]

# What botocore raises before it asks anybody.
_OWN_ERRORS = {"ParamValidationError", "NoRegionError", "InvalidRegionError", "ProfileNotFound", "UnknownServiceError"}


@contextmanager
def aws_errors(what: str, **data: Any) -> Iterator[None]:
    """Turn what botocore raises into a `ReaderError`.

    botocore has retried by then what may pass, with growing waits, as the connection's ``config_kwargs`` say.

    Args:
        what: The thing that is read, e.g. ``"s3://bucket/prefix"`` or ``"the DynamoDB table users"``.
        **data: Facts for programs.
    """
    try:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
    except ImportError:  # who makes the client says which extra is missing
        yield
        return
    try:
        yield
    except FlowstoneError:
        raise
    except ClientError as error:
        raise _of_answer(what, error, data) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise SourceAccessError(
            f"cannot read {what}: there are no credentials ({error}); give a connection with conn_id=…, or set up "
            "aws_default",
            **data,
        ) from error
    except BotoCoreError as error:
        if type(error).__name__ in _OWN_ERRORS:
            raise ReaderError(f"cannot read {what}: {error}", **data) from error
        raise SourceUnavailableError(
            f"cannot read {what}: {type(error).__name__}: {error}; check the connection's endpoint and the network",
            **data,
        ) from error


def _of_answer(what: str, error: Any, data: dict[str, Any]) -> ReaderError:
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", "")).strip()
    said = f"{code}: {message}" if message else code
    for kind, text, codes in _MEANINGS:
        if code in codes:
            return kind(text.format(what=what, said=said, operation=error.operation_name), **data, code=code)
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return SourceUnavailableError(f"cannot read {what}: the service failed ({said})", **data, code=code)
    return ReaderError(f"cannot read {what}: {error.operation_name} says {said}", **data, code=code)
