"""What AWS answers when it does not give what was asked for, in our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flowstone_provider.errors import FlowstoneError


@dataclass(frozen=True)
class AwsErrors:
    """The errors that a part of this package raises, by what AWS answers."""

    missing: type[FlowstoneError]
    """The thing does not exist."""
    refused: type[FlowstoneError]
    """No permission, or credentials that are missing or wrong."""
    unavailable: type[FlowstoneError]
    """Throttled, unreachable, failing, or credentials that ran out: it may pass."""
    changed: type[FlowstoneError]
    """The thing is not the one that is meant any more."""
    other: type[FlowstoneError]
    """Anything else."""
    since: str
    """Since when a thing that changed was another."""
    again: str
    """The remedy when it did."""
    slower: str
    """The remedy when there are too many requests."""

    @contextmanager
    def raised(self, what: str, verb: str = "read", **data: Any) -> Iterator[None]:
        """Turn what botocore raises into an error of ours.

        botocore has retried by then what may pass, with growing waits, as the connection's ``config_kwargs`` say.

        Args:
            what: The thing, e.g. ``"s3://bucket/prefix"`` or ``"the DynamoDB table users"``.
            verb: What is done to it.
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
            raise _of_answer(self, what, verb, error, data) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise self.refused(
                f"cannot {verb} {what}: there are no credentials ({error}); give a connection with conn_id=…, or set "
                "up aws_default",
                **data,
            ) from error
        except BotoCoreError as error:
            if type(error).__name__ in _OWN_ERRORS:
                raise self.other(f"cannot {verb} {what}: {error}", **data) from error
            raise self.unavailable(
                f"cannot {verb} {what}: {type(error).__name__}: {error}; check the connection's endpoint and the "
                "network",
                **data,
            ) from error


# What error codes of S3 and DynamoDB mean (their API references, "List of error codes" and "Error handling with
# DynamoDB"): the field of `AwsErrors`, the message, the codes. HEAD requests have no body: there botocore gives the
# status as code.
_MEANINGS: list[tuple[str, str, set[str]]] = [
    (
        "missing",
        "{what} does not exist ({said})",
        {"NoSuchBucket", "NoSuchKey", "NoSuchVersion", "ResourceNotFoundException", "404"},
    ),
    (
        "refused",
        "no permission to {verb} {what} ({operation}: {said}); allow it to the connection's user",
        {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "403"},
    ),
    (
        "refused",
        "cannot {verb} {what}: the credentials are wrong ({said}); check the connection's key and secret",
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
        "unavailable",
        "cannot {verb} {what}: the credentials have expired ({said}); renew those of the connection",
        {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"},
    ),
    (
        "unavailable",
        "cannot {verb} {what}: throttled, also after several tries ({said}); {slower}, or raise `retries` in the "
        "connection's config_kwargs",
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
    ("refused", "{what} is archived ({said}); restore it first, or leave it out", {"InvalidObjectState"}),
    ("changed", "{what} was written anew since {since} ({said}); {again}", {"PreconditionFailed", "412"}),
]

# What botocore raises before it asks anybody.
_OWN_ERRORS = {"ParamValidationError", "NoRegionError", "InvalidRegionError", "ProfileNotFound", "UnknownServiceError"}


def _of_answer(errors: AwsErrors, what: str, verb: str, error: Any, data: dict[str, Any]) -> FlowstoneError:
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", "")).strip()
    said = f"{code}: {message}" if message else code
    for name, text, codes in _MEANINGS:
        if code in codes:
            words = {"what": what, "verb": verb, "said": said, "operation": error.operation_name}
            remedies = {"since": errors.since, "again": errors.again, "slower": errors.slower}
            kind: type[FlowstoneError] = getattr(errors, name)
            return kind(text.format(**words, **remedies), **data, code=code)
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return errors.unavailable(f"cannot {verb} {what}: the service failed ({said})", **data, code=code)
    return errors.other(f"cannot {verb} {what}: {error.operation_name} says {said}", **data, code=code)
