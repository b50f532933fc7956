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


@pytest.mark.parametrize("name", list(_script().PAGES))
def test_the_committed_page_is_the_generated_one(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == _script().PAGES[name](), "run python scripts/write_pages.py"
