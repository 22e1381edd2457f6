"""What every test relies on: one thread, and a global generator that starts from the same seed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-extra", action="store_true", help="a test that is skipped for want of a package fails")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With --every-extra there is no want of a package."""
    report = yield
    if report.skipped and item.config.getoption("--every-extra") and "could not import" in str(report.longrepr):
        report.outcome, report.longrepr = "failed", f"with --every-extra all packages are there, but {report.longrepr}"
    return report


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """The tensors here are tiny: more threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def captured_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are captured, compared and used, but not turned into C++, here and in processes that tests start: that
    takes ten seconds for each. `engine/test_compile.py` is there for the rest."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for the tests alone."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache
