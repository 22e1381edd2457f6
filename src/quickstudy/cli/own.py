"""Parts of the user's own: Python files named with --import, which register them or make them."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from quickstudy.cli.settings import taken
from quickstudy.errors import ConfigError
from quickstudy.files import require_regular
from quickstudy.modules import executed
from quickstudy.registry import OWN
from quickstudy.tasks.base import Source
from quickstudy.training.config import RunConfig

FLAG = "--import"
_imported: ContextVar[tuple[ModuleType, ...]] = ContextVar("imported", default=())
_names: ContextVar[tuple[str, ...]] = ContextVar("names", default=())


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files and modules that --import names, and the other arguments."""
    return taken(FLAG, arguments, "a Python file after it, or the name of an installed module")


@contextmanager
def imported(names: Sequence[str]) -> Iterator[None]:
    """Within it, what the Python files or modules called `names` register and make is known to the commands."""
    tokens = _imported.set(tuple(map(load, names))), _names.set(tuple(names))
    try:
        yield
    finally:
        _imported.reset(tokens[0])
        _names.reset(tokens[1])


def proposed(command: str, *words: str | Path, names: Sequence[str] | None = None) -> str:
    """A command as it can be typed, with the --import options of this one. names: of these, if not those that hold."""
    options = [word for name in (_names.get() if names is None else names) for word in (FLAG, name)]
    return shlex.join(["quickstudy", *command.split(), *map(str, words), *options])


def names() -> tuple[str, ...]:
    """The files and modules that hold for this command."""
    return _names.get()


def load(name: str) -> ModuleType:
    """The module in the Python file `name`, executed once in a process; or the installed module of that name.

    ConfigError if there is none.
    """
    path = Path(name)
    if path.suffix != ".py":
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise
            raise ConfigError(
                f"There is no installed module {name!r}. Give a Python file ({FLAG} parts.py), or install it."
            ) from error
    require_regular(path)
    if not path.is_file():
        raise ConfigError(f"There is no file {path}. Give the Python file that makes your parts.")
    called = path.stem.replace("-", "_")
    if (known := sys.modules.get(called)) is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    if known is not None:
        place = getattr(known, "__file__", None) or "Python itself"
        raise ConfigError(f"{path} would hide the module {called!r}, which lies in {place}. Rename the file.")
    return executed(path, called)


def _made(function: str, kind: type) -> Any:
    """What an imported file calls so, or what its function of that name returns; None if no file has one."""
    makers = [module for module in _imported.get() if getattr(module, function, None) is not None]
    if len(makers) > 1:
        raise ConfigError(f"Two imported files have a {function}: {', '.join(m.__name__ for m in makers)}. Import one.")
    if not makers:
        return None
    made = getattr(makers[0], function)
    value = made() if callable(made) and not isinstance(made, kind) else made
    if not isinstance(value, kind):
        raise ConfigError(
            f"{function} in {makers[0].__file__} must be a {kind.__name__}, or a function that returns one; found "
            f"{type(value).__name__}."
        )
    return value


def made_for(config: RunConfig) -> tuple[nn.Module | None, Source | None]:
    """The network and the tasks of the user's own, as far as `config` names none."""
    return (
        module() if config.model.name == OWN else None,
        source() if config.tasks.name == OWN else None,
    )


def module() -> nn.Module | None:
    """The network of the user's own: what `module()` in an imported file returns."""
    network: nn.Module | None = _made("module", nn.Module)
    return network


def source() -> Source | None:
    """The tasks of the user's own: what `source()` in an imported file returns."""
    tasks: Source | None = _made("source", Source)
    return tasks
