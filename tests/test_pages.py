"""Pages that are generated from code say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("write_pages", ROOT / "scripts" / "write_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", list(_script().PAGES), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_committed_is_what_is_generated(path: Path) -> None:
    assert path.read_text() == _script().PAGES[path](), "run python scripts/write_pages.py"
