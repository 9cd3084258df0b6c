"""Every error that this package raises on purpose.

::

    FlowstoneError
     ├─ OptionsError          (ValueError)         a misspelt option, a value of the wrong type or range
     ├─ RegistryError
     │   ├─ UnknownNameError  (KeyError)           no such reader, coordinator, emitter …
     │   ├─ DuplicateNameError                     two owners of one name
     │   └─ ContractVersionError                   a plugin made for another major version of a contract
     ├─ MissingExtraError     (ImportError)        an optional library is not installed
     ├─ ReaderError
     │   ├─ SourceNotFoundError (FileNotFoundError)
     │   ├─ SourceAccessError   (PermissionError)  no permission, or credentials that are missing or wrong
     │   ├─ SourceUnavailableError (ConnectionError) throttled, unreachable, cut off; retryable
     │   ├─ SourceChangedError                     the source is not what the checkpoint was taken from
     │   └─ BadRecordError    (ValueError)         a record that cannot be read, with file and line
     ├─ AssetError            (ValueError)         what is no name of an asset
     │   ├─ PartitionError                         what is no partition, or has too long a text
     │   ├─ ReferenceError                         what is no reference to an asset, or one of another version
     │   ├─ ValueKindError    (TypeError)          a value that an IO manager cannot keep, or not give in a type
     │   ├─ AssetNotFoundError (LookupError)       what was never stored, or is deleted
     │   ├─ AssetExistsError                       what is there already, with if_exists="error"
     │   ├─ AssetReplacedError                     the value that a reference stands for is not there any more
     │   └─ AssetDamagedError                      what is stored is not what was stored
     ├─ ItemError             (ValueError)         an item or a result that JSON cannot hold
     ├─ PlanError
     │   ├─ TooManyBatchesError                    more batches than Airflow maps over
     │   └─ NotPlannedError                        the plan was never sealed
     ├─ StorageError          (OSError)            storage of ours cannot be read or written; retryable
     │   ├─ StorageAccessError (PermissionError)   it is not there, or may not be used; not retryable
     │   └─ LedgerError                            the ledger does not hold what it should
     ├─ ApprovalError                              an approval that cannot be asked for
     │   ├─ RejectedError                          somebody said no, and fail_on_reject is set
     │   └─ UnansweredError  (TimeoutError)        nobody answered in time, and no default decides
     ├─ ResultsError                               results that do not fit the asked format
     ├─ ToleranceExceededError                     more items did not succeed than the tolerance allows
     ├─ RoutingError
     │   ├─ RouteError        (ValueError)         a route to no branch or to two, a branch that nothing chooses
     │   └─ DecisionError                          a stored decision for a branch that there is no more
     ├─ GateError
     │   ├─ SignalKeyError                         no key to sign the URLs of gates with, or one that is too short
     │   ├─ TokenError                             what is no token of a gate
     │   ├─ SignalPayloadError (ValueError)        what came to a gate does not fit its schema
     │   └─ GateTimeoutError  (TimeoutError)       nothing came to a gate in time
     ├─ BranchesFailedError                        branches that a join needs did not succeed
     ├─ RetryItem                                  raised by a user's function: try this item again
     ├─ StateMachineError  (ValueError)            an Amazon States Language file that no DAG can be made of
     └─ NestingError                               a scatter, a router, a timeout where Airflow cannot run one

An error carries its data as attributes (``error.data`` holds them all) and survives pickling.
``retryable`` says whether running the same task again may help; the operators turn it into Airflow's behaviour.
"""

from __future__ import annotations

from typing import Any, ClassVar


class FlowstoneError(Exception):
    """The base of all errors of this package.

    Args:
        message: What is wrong, where, and the remedy.
        **data: Facts for programs; each becomes an attribute.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None

    # KeyError would show the repr of its argument, OSError would look for an errno.
    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.data))


def _rebuild(cls: type[FlowstoneError], message: str, data: dict[str, Any]) -> FlowstoneError:
    return cls(message, **data)


class OptionsError(FlowstoneError, ValueError):
    """An option is misspelt, or its value has the wrong type or range."""


class RegistryError(FlowstoneError):
    """A name cannot be resolved to a class."""


class UnknownNameError(RegistryError, KeyError):
    """No class is registered under this name."""


class DuplicateNameError(RegistryError):
    """Two packages claim one name."""


class ContractVersionError(RegistryError):
    """A plugin was made for another major version of its contract."""


class MissingExtraError(FlowstoneError, ImportError):
    """An optional library is missing; the message names the extra to install."""


class ReaderError(FlowstoneError):
    """A source cannot be read."""


class SourceNotFoundError(ReaderError, FileNotFoundError):
    """The source does not exist, or a pattern matches nothing."""


class SourceAccessError(ReaderError, PermissionError):
    """The source may not be read: no permission, or credentials that are missing or wrong."""


class SourceUnavailableError(ReaderError, ConnectionError):
    """The source did not answer in the end: throttled, unreachable, cut off, or with credentials that ran out."""

    retryable = True


class SourceChangedError(ReaderError):
    """The source is not the one that the checkpoint or the split was made from."""


class BadRecordError(ReaderError, ValueError):
    """A record of a source is malformed."""


class AssetError(FlowstoneError, ValueError):
    """What is asked of an asset cannot be."""


class PartitionError(AssetError):
    """A value that is no partition, or whose text is too long."""


class ReferenceError(AssetError):
    """A value that is no reference to an asset, or one of another version."""


class ValueKindError(AssetError, TypeError):
    """A value that an IO manager cannot keep, or cannot give in the type asked for."""


class AssetNotFoundError(AssetError, LookupError):
    """There is no such value: it was never stored, or is deleted."""


class AssetExistsError(AssetError):
    """There is a value already, and it is not to be replaced."""


class AssetReplacedError(AssetError):
    """The value that a reference stands for was replaced."""


class AssetDamagedError(AssetError):
    """What is stored is not what was stored."""


class ItemError(FlowstoneError, ValueError):
    """An item, or what a function returned for it, is not JSON."""


class PlanError(FlowstoneError):
    """The plan of a scatter cannot be made or used."""


class TooManyBatchesError(PlanError):
    """The plan has more batches than Airflow maps over."""


class NotPlannedError(PlanError):
    """The plan was never sealed."""


class StorageError(FlowstoneError, OSError):
    """Storage of the ledger or of an asset cannot be read or written."""

    retryable = True


class StorageAccessError(StorageError, PermissionError):
    """Storage is not there, or may not be used: no bucket, no permission, credentials that are missing or wrong."""

    retryable = False


class LedgerError(StorageError):
    """The ledger lost or changed something."""


class ApprovalError(FlowstoneError):
    """An approval cannot be asked for, or was not given."""


class RejectedError(ApprovalError):
    """Somebody said no, and the task fails on that."""


class UnansweredError(ApprovalError, TimeoutError):
    """Nobody answered in time, and there is no default."""


class ResultsError(FlowstoneError):
    """Results do not fit the format that was asked for."""


class ToleranceExceededError(FlowstoneError):
    """More items did not succeed than the tolerance allows."""


class RoutingError(FlowstoneError):
    """A router cannot route."""


class RouteError(RoutingError, ValueError):
    """A route to no branch, or to two; or a branch that no route leads to."""


class DecisionError(RoutingError):
    """The decision that stands is for a branch that there is no more."""


class GateError(FlowstoneError):
    """A signal gate cannot be opened, or ended without a signal that fits."""


class SignalKeyError(GateError):
    """There is no key to sign the URLs of gates with, or it is too short."""


class TokenError(GateError):
    """A token that no gate has, or one of another version."""


class SignalPayloadError(GateError, ValueError):
    """What came to a gate does not fit its schema."""


class GateTimeoutError(GateError, TimeoutError):
    """Nothing came to a gate in time."""


class BranchesFailedError(FlowstoneError):
    """Branches that a join needs did not succeed."""


class StateMachineError(FlowstoneError, ValueError):
    """A file of the Amazon States Language cannot be read, or no DAG can do what it says."""


class NestingError(FlowstoneError):
    """A scatter, a router, or a branch with a timeout stands where Airflow cannot run one."""


class RetryItem(FlowstoneError):  # noqa: N818  (a signal that users raise, as Airflow's AirflowSkipException)
    """Raised by a user's function: try this item again, after the server's own delay.

    Args:
        message: Why; it becomes the error of the outcome when attempts run out.
        after: Seconds to wait before the next attempt, e.g. from a ``Retry-After`` header.
    """

    def __init__(self, message: str = "asked to be retried", *, after: float | None = None) -> None:
        super().__init__(message, after=after)
