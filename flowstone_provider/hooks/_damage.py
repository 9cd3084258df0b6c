"""Whose fault it is that a file cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flowstone_provider.errors import AssetDamagedError, FlowstoneError


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turn what pyarrow says of damaged data into an error of ours.

    Args:
        what: The file, for the message.

    Raises:
        AssetDamagedError: It is not what was stored.
    """
    import pyarrow as pa

    try:
        yield
    except FlowstoneError:  # storage cannot be read, or the value was replaced: that says nothing about the data
        raise
    except (pa.ArrowException, OSError) as error:
        # pyarrow's OSError for damaged data has no errno; that of a disk or a network has one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise AssetDamagedError(f"{what} is damaged: {error}; store it again") from error
