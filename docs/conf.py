"""How the documentation is built: ``make docs``."""

# ruff: noqa: ARG001  (Sphinx says what its hooks are given)

from __future__ import annotations

import os
import tempfile
from typing import Any

# Importing Airflow makes its home.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="flowstone-docs-"))

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import flowstone_provider

project = "FlowStone for Apache Airflow"
author = "The FlowStone authors"
release = version = flowstone_provider.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_heading_anchors = 3

# Docstrings write names in single backticks.
default_role = "py:obj"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"show-inheritance": True}


def _fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Write the options of a pydantic model, with their descriptions, below the docstring of its class."""
    if what != "class" or not (isinstance(obj, type) and issubclass(obj, BaseModel)) or not obj.model_fields:
        return
    lines += ["", ".. list-table:: Options", "   :header-rows: 1", "   :widths: 20 15 65", ""]
    lines += ["   * - name", "     - default", "     - meaning"]
    for field, info in obj.model_fields.items():
        if info.default_factory is not None:
            default = f"``{info.get_default(call_default_factory=True)!r}``"
        elif info.default is PydanticUndefined:
            default = "*required*"
        else:
            default = f"``{info.default!r}``"
        lines += [f"   * - ``{field}``", f"     - {default}", f"     - {info.description or ''}"]
    lines.append("")


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what pydantic and Airflow need and nobody calls."""
    return True if name in ("model_config", "title", "template_fields", "template_fields_renderers") else None


def _signature(app: Any, what: str, name: str, obj: Any, options: Any, *_: Any) -> tuple[str, str | None] | None:
    """The signature of a model says again what its table of options says better."""
    is_model = what == "class" and isinstance(obj, type) and issubclass(obj, BaseModel)
    return ("(**options)", None) if is_model else None


def setup(app: Any) -> None:
    """Hook into autodoc."""
    app.connect("autodoc-process-docstring", _fields)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
