"""The errors of readers for what AWS answers."""

from __future__ import annotations

from flowstone_provider.aws import AwsErrors
from flowstone_provider.errors import (
    ReaderError,
    SourceAccessError,
    SourceChangedError,
    SourceNotFoundError,
    SourceUnavailableError,
)

READING = AwsErrors(
    missing=SourceNotFoundError,
    refused=SourceAccessError,
    unavailable=SourceUnavailableError,
    changed=SourceChangedError,
    other=ReaderError,
    since="it was listed",
    again="clear the plan task to plan anew",
    slower="lower max_active_batches",
)

aws_errors = READING.raised
