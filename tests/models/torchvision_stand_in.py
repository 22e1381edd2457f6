"""A stand-in for torchvision, which timm imports at its top, while timm is imported. Nothing of it is ever called."""

from __future__ import annotations

import enum
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

InterpolationMode = enum.Enum(
    "InterpolationMode",
    [(name, name.lower()) for name in ("NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")],
)


class _Empty(ModuleType):
    """A module with a class of every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = InterpolationMode if name == "InterpolationMode" else type(name, (), {})
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if _ours(name) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""


def _ours(name: str) -> bool:
    return name.partition(".")[0] == "torchvision"


def import_timm() -> Any:
    """timm, on the stand-in, which is gone again afterwards."""
    if "timm" not in sys.modules:
        finder = _Finder()
        sys.meta_path.insert(0, finder)
        try:
            importlib.import_module("timm")
        finally:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if _ours(name)]:
                del sys.modules[name]
    return sys.modules["timm"]
