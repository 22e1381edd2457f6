"""Python files that are executed as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def executed(path: Path, called: str) -> ModuleType:
    """The module made by executing a Python file. Its neighbours can be imported while it is."""
    spec = importlib.util.spec_from_file_location(called, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(called)
    sys.modules[called] = module  # before it runs, as dataclasses and pickle look themselves up there
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(called)
        if before is not None:
            sys.modules[called] = before
        raise
    finally:
        sys.path.pop(0)
    return module
