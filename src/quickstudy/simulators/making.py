"""How a simulator is made and given a task: from an id of Gymnasium, a family's name, or a Python file."""

from __future__ import annotations

import difflib
import inspect
import numbers
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.errors import ConfigError, DataError
from quickstudy.files import require_regular
from quickstudy.modules import executed
from quickstudy.simulators.families import FAMILIES, announce, gymnasium, require, require_for, settle
from quickstudy.simulators.vary import Variations

_DRAWN = {"render_mode": "rgb_array"}


@cache
def _function(path: str) -> Callable[..., Any]:
    """The function make() of a Python file."""
    require_regular(path)
    if not Path(path).is_file():
        raise ConfigError(f"There is no file {path}. Give the Python file that makes your environment.")
    function = getattr(executed(Path(path), f"environment_in_{Path(path).stem.replace('-', '_')}"), "make", None)
    if not callable(function):
        raise ConfigError(
            f"{path} has no function make(…), which is given the numbers of a task by their names and returns an "
            "environment of Gymnasium. Define one."
        )
    return function  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Maker:
    """Makes simulators of one family; workers are sent it. id: of Gymnasium, or of a family, or a Python file. drawn:
    they are made so that they can be asked for pictures (render_mode='rgb_array')."""

    id: str
    variations: Variations
    drawn: bool = False

    @property
    def file(self) -> bool:
        return self.id.endswith(".py")

    def spec(self) -> Any:
        """What Gymnasium knows of the id. ConfigError where it knows nothing, MissingExtra where a package lacks."""
        library = gymnasium()
        family = FAMILIES.get(self.id)
        if family is not None and family.package:
            require(family.package)
        id = family.id if family is not None else self.id
        missing = [] if id in library.registry else announce()
        try:
            return library.spec(id)
        except (library.error.Error, ImportError) as error:
            known = [*FAMILIES, *library.registry]
            near = difflib.get_close_matches(self.id, known, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            lacking = f" Not installed: {', '.join(missing)} (pip install 'quickstudy[rl,worlds]')." if missing else ""
            raise ConfigError(
                f"Gymnasium knows no environment {self.id!r} ({str(error)[:200]}).{hint}{lacking} Give a family "
                f"({', '.join(FAMILIES)}), an id, one with the module that registers it (my_module:Mine-v0), or a "
                "Python file."
            ) from error

    def limit(self) -> int | None:
        """Steps after which an episode's time is up, where the environment tells: the least of the limits of one of its
        tasks."""
        if not self.file:
            steps = self.spec().max_episode_steps
            return None if steps is None else int(steps)
        made = layer = self.make(self.variations.first())
        told = []
        while layer is not layer.unwrapped:
            if isinstance(layer, gymnasium().wrappers.TimeLimit):
                told.append(int(layer._max_episode_steps))
            layer = layer.env
        made.close()
        return min(told, default=None)

    def make(self, task: Mapping[str, float]) -> Any:
        """A new environment without a time limit of Gymnasium's, of this task where it is one of a file."""
        library = gymnasium()
        if self.file:
            return self._from_file(library, task)
        family = FAMILIES.get(self.id)
        spec = self.spec()
        require_for(spec)
        try:
            made = library.make(
                spec.id if family else self.id, max_episode_steps=-1, disable_env_checker=True,
                **(family.options if family else {}) | (_DRAWN if self.drawn else {}),
            )  # fmt: skip
        except library.error.DependencyNotInstalled as error:
            raise ConfigError(f"The environment {self.id!r} cannot be made: {error}") from error
        wrapper = family.wrapper if family else "OneHotView" if "minigrid" in str(spec.entry_point) else ""
        if not wrapper:
            return made
        from quickstudy.simulators import wrappers

        return getattr(wrappers, wrapper)(made)

    def _from_file(self, library: Any, task: Mapping[str, float]) -> Any:
        function = _function(self.id)
        try:
            inspect.signature(function).bind(**task)
        except TypeError as error:
            raise ConfigError(
                f"make{inspect.signature(function)} in {self.id} is given {', '.join(task) or 'nothing'}: {error}. "
                "Let its parameters be what vary names."
            ) from error
        drawn = _DRAWN if self.drawn and "render_mode" in inspect.signature(function).parameters else {}
        made = function(**task, **drawn)
        if not isinstance(made, library.Env):
            raise ConfigError(
                f"make(…) in {self.id} returned a {type(made).__name__}, expected an environment of Gymnasium "
                "(gymnasium.Env). Return one."
            )
        return made

    def set(self, env: Any, task: Mapping[str, float]) -> None:
        """Gives an environment the numbers of a task; ConfigError where it has none such, or does not take them."""
        for one in self.variations.all:
            try:
                _write(self._holder(env, one.path), one.path[-1], task[one.name])
            except (AttributeError, TypeError) as error:
                raise ConfigError(f"{self.id}: {one.name} cannot be set: {error}. Vary something else.") from error
        settle(env, [one.path for one in self.variations.all])
        self.check(env, task, "when it is set")

    def check(self, env: Any, task: Mapping[str, float], when: str) -> None:
        """DataError where an environment does not have the numbers of its task."""
        for one in self.variations.all:
            there = _read(self._holder(env, one.path), one.path[-1])
            if not np.isclose(float(there), task[one.name], rtol=1e-5, atol=1e-7):
                raise DataError(
                    f"{self.id}: {one.name} was set to {task[one.name]:g}, but is {float(there):g} {when}: the "
                    "environment chooses it itself. Vary something else, or make the environment in a Python file."
                )

    def _holder(self, env: Any, path: tuple[str, ...]) -> Any:
        """What holds the number at a path: of the outermost wrapper that has its first name, or within that."""
        layer = env
        while not hasattr(layer, path[0]) and layer is not env.unwrapped:
            layer = layer.env
        try:
            for name in path[:-1]:
                layer = _read(layer, name)
            number = _read(layer, path[-1])
        except (AttributeError, LookupError, ValueError, TypeError) as error:
            raise ConfigError(
                f"{self.id} has no {'.'.join(path)} ({type(error).__name__}: {error}). vary names attributes of the "
                f"environment ({type(env.unwrapped).__name__}): {', '.join(_numbers(env)) or 'it has no numbers'}."
            ) from error
        if number is not None and not _is_number(number):
            raise ConfigError(
                f"{self.id}: {'.'.join(path)} is {number!r:.80}, no number, and a task sets numbers. Name one in it: "
                f"{'.'.join(path)}.NAME, or a number for a place in a list."
            )
        return layer


def _read(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder[name]
    if isinstance(holder, list | tuple | np.ndarray):
        return holder[int(name)]
    return getattr(holder, name)


def _write(holder: Any, name: str, value: float) -> None:
    if isinstance(holder, MutableMapping):
        holder[name] = value
    elif isinstance(holder, MutableSequence | np.ndarray):
        holder[int(name)] = value
    else:
        setattr(holder, name, value)


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and np.issubdtype(value.dtype, np.number)
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def _numbers(env: Any) -> list[str]:
    """The names of attributes that are numbers, of the environment and its wrappers."""
    layers, found = [env.unwrapped, env], set[str]()
    for layer in layers:
        found |= {name for name, value in vars(layer).items() if not name.startswith("_") and _is_number(value)}
    return sorted(found)
