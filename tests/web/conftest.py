"""A browser for each file of tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.web.page_browser import browser  # which needs what tests without extras have not

    with browser(tmp_path_factory.mktemp("browser")) as told:
        yield told
