"""Tasks over assets: materialize, copy, delete."""

from __future__ import annotations

import asyncio
import inspect
import logging
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from airflow.providers.common.compat.sdk import DecoratedOperator, KeywordParameters

from flowstone_provider.contracts.io_manager import AssetKey, make_reference
from flowstone_provider.errors import AssetExistsError, OptionsError, StorageError
from flowstone_provider.operators._asset import AssetOperator, announce, check_asset, outlets_of, with_outlet
from flowstone_provider.operators._base import airflow_errors
from flowstone_provider.operators.load import load, references_in
from flowstone_provider.registry import create_io_manager

log = logging.getLogger(__name__)

IfExists = Literal["replace", "skip", "error"]

# The label of a mapped instance in the grid: known once the task has run.
PARTITION_LABEL = "{{ flowstone_partition if flowstone_partition is defined else '' }}"


class MaterializeOperator(AssetOperator, DecoratedOperator):
    """Stores what a function returns as an asset. Returns the reference: a small dict.

    Arguments that are references are loaded within `execute`, as the function's annotations say. So tables reach
    neither XCom nor the rendered fields.

    Args:
        python_callable: The function. What a generator function yields, record batches, is stored as a stream.
        if_exists: When there is a value already: ``"replace"`` it, ``"skip"`` the function and return the reference to
            what is stored, or fail with an ``"error"``.
        **kwargs: See `AssetOperator`.
    """

    custom_operator_name = "@task.materialize"
    # In this order: a partition may say {{ task.op_kwargs.month }}.
    template_fields: Collection[str] = (*DecoratedOperator.template_fields, *AssetOperator.template_fields)

    def __init__(self, *, python_callable: Callable[..., Any], if_exists: IfExists = "replace", **kwargs: Any) -> None:
        super().__init__(python_callable=python_callable, **kwargs)
        self.if_exists = if_exists
        self.outlets = with_outlet(self.outlets, self.asset, self.io_manager)
        check_if_exists(if_exists)

    def execute(self, context: Any) -> dict[str, Any]:
        """See `MaterializeOperator`."""
        with airflow_errors():
            key = self.key(context)
            context["flowstone_partition"] = key.text or ""
            manager = self.manager()
            receipt = None if self.if_exists == "replace" else manager.receipt(key)
            read: list[dict[str, Any]] = []
            if receipt is None:
                receipt = manager.store(key, self._value(context, read))
            elif self.if_exists == "error":
                raise AssetExistsError(
                    f'{key} is stored already, at {receipt.uri}, and if_exists="error": delete it, or give '
                    'if_exists="replace" or "skip"'
                )
            else:
                log.info('%s is stored already, at %s: nothing to do, because if_exists="skip"', key, receipt.uri)
            reference = make_reference(key, self.io_manager, receipt)
            announce(context, outlets_of(self.asset, self.io_manager), reference, read)
        return reference

    def _value(self, context: Mapping[str, Any], read: list[dict[str, Any]]) -> Any:
        """What the function returns; ``read`` is told which references it was given."""
        function = self.python_callable
        parameters = _signature(function).parameters
        positional = [p for p in parameters.values() if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]

        def given(value: Any, parameter: inspect.Parameter | None) -> Any:
            references = references_in(value)
            if not references:
                return value
            read.extend(references)
            annotated = parameter is not None and parameter.annotation is not parameter.empty
            return load(value, parameter.annotation if annotated else None)

        args = [given(value, positional[min(at, len(positional) - 1)]) for at, value in enumerate(self.op_args)]
        kwargs = KeywordParameters.determine(function, args, {**context, **self.op_kwargs}).unpacking()
        # Not into op_kwargs: a template field is serialised for the UI.
        loaded = {
            name: given(value, parameters.get(name)) if name in self.op_kwargs else value
            for name, value in kwargs.items()
        }
        value = function(*args, **loaded)
        return asyncio.run(value) if inspect.iscoroutine(value) else value


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """The parameters of a function, with annotations that are postponed as what they name, where that is known."""
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # noqa: BLE001  (an annotation may be any text, such as a name for type checkers only)
        return inspect.signature(function)


def check_if_exists(if_exists: Any) -> None:
    """Check the option.

    Raises:
        OptionsError: No such value.
    """
    if if_exists not in get_args(IfExists):
        raise OptionsError(f"if_exists must be one of {', '.join(map(repr, get_args(IfExists)))}, not {if_exists!r}")


class DeleteAssetOperator(AssetOperator):
    """Deletes an asset's value, or that of one partition. That there is none is no error.

    Args:
        **kwargs: See `AssetOperator`.
    """

    def execute(self, context: Any) -> None:
        """See `DeleteAssetOperator`."""
        with airflow_errors():
            key = self.key(context)
            self.manager().delete(key)
            log.info("deleted %s from %s", key, self.io_manager)


class CopyAssetOperator(AssetOperator):
    """Copies an asset's value, or that of one partition, from an IO manager to another. Returns the copy's reference.

    Tables are streamed as record batches and bytes as chunks: the memory does not grow with the value.

    Args:
        to_io_manager: The name of the IO manager that gets the copy.
        to_asset: The copy's name, by default the same; may be a template.
        **kwargs: See `AssetOperator`; ``io_manager`` is where the value is.
    """

    template_fields: Collection[str] = (*AssetOperator.template_fields, "to_asset")

    def __init__(self, *, to_io_manager: str, to_asset: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.to_io_manager = to_io_manager
        self.to_asset = to_asset or self.asset
        check_asset(self.to_asset, to_io_manager)
        if (self.to_io_manager, self.to_asset) == (self.io_manager, self.asset):
            raise OptionsError(f"{self.task_id}: the copy would replace what it is made from; give another to_asset")
        self.outlets = with_outlet(self.outlets, self.to_asset, to_io_manager)

    def execute(self, context: Any) -> dict[str, Any]:
        """See `CopyAssetOperator`."""
        with airflow_errors():
            key = self.key(context)
            source = self.manager()
            target = create_io_manager(self.to_io_manager)
            receipt = source.receipt(key)
            if receipt is None:
                source.load(key)  # which raises, and names the partitions there are
                raise StorageError(f"{key} was stored only now: copy it again")
            to = AssetKey(self.to_asset, key.partition)
            if receipt.kind == "bytes":
                with tempfile.NamedTemporaryFile() as file:
                    for chunk in source.load(key, "Iterator", checksum=receipt.checksum):
                        file.write(chunk)
                    file.flush()
                    copied = target.store(to, Path(file.name))
            else:
                as_type = "pyarrow.RecordBatchReader" if receipt.kind == "table" else None
                copied = target.store(to, source.load(key, as_type, checksum=receipt.checksum))
            reference = make_reference(to, self.to_io_manager, copied)
            read = [make_reference(key, self.io_manager, receipt)]
            announce(context, outlets_of(self.to_asset, self.to_io_manager), reference, read)
        return reference
