"""What several integration tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments import ROOT, build_wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this package."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("dist"))
