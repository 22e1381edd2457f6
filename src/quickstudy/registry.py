"""Named parts. A registry maps names to constructors; a `Part` is a constructor with its options, stored in a run.

Tests, command-line choices, the docs' tables and the benchmarks all read the registries, so that a part is announced
in one place. A user's own part joins with the same decorator.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from quickstudy.errors import ConfigError, unknown_name

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


class Registry(Mapping[str, Callable[..., R]]):
    """Constructors by name: `@learners.register("maml", head=True)`; `learners["mamll"]` suggests the nearest name.

    home: the package whose import registers quickstudy's own; it is imported when the registry is first read.
    """

    def __init__(self, kind: str, home: str = "") -> None:
        self.kind, self._home = kind, home
        self._entries: dict[str, Callable[..., R]] = {}
        self._facts: dict[str, dict[str, Any]] = {}

    def _load(self) -> dict[str, Callable[..., R]]:
        """All constructors."""
        if home := self._home:
            self._home = ""  # before the import, which registers
            importlib.import_module(home)
        return self._entries

    def register(self, name: str, **facts: Any) -> Callable[[F], F]:
        """Decorator: announce a constructor under `name`, with facts about it that other code may ask for.

        hidden=True leaves it out of every list; it can still be asked for by name.
        """

        def add(constructor: F) -> F:
            if constructor.__module__.partition(".")[0] != __name__.partition(".")[0]:
                self._load()  # so that a name of ours is refused here
            if name in self._entries:
                raise ConfigError(f"There is already a {self.kind} called {name!r}. Choose another name.")
            self._entries[name] = constructor
            self._facts[name] = facts
            return constructor

        return add

    def facts(self, name: str) -> Mapping[str, Any]:
        """What was said of `name` when it was registered."""
        self[name]
        return self._facts[name]

    def summary(self, name: str) -> str:
        """The first line of the constructor's docstring."""
        return (inspect.getdoc(self[name]) or "").split("\n")[0]

    def name_of(self, constructor: Callable[..., Any]) -> str:
        """The name that a constructor is registered under; ConfigError if it is not."""
        for name, known in self._load().items():
            if known is constructor:
                return name
        raise ConfigError(
            f"The {self.kind} {getattr(constructor, '__name__', constructor)!r} has no name by which it could be built "
            f"again. Register it: @quickstudy.registry.{self.kind}s.register('NAME')."
        )

    def __getitem__(self, name: str) -> Callable[..., R]:
        entries = self._load()
        if name not in entries:
            raise unknown_name(self.kind, name, entries)
        return entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._load() if not self._facts[name].get("hidden"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def part(self, name: str, **options: Any) -> Part[R]:
        """The constructor called `name` with these options; options that it does not take are refused."""
        return Part(self, name, options)


@dataclass(frozen=True)
class Part(Generic[R]):
    """A registered constructor and the options it is called with; equal parts build equal things."""

    registry: Registry[R] = field(repr=False)
    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = self.parameters()
        for option in self.options:
            if option not in known:
                raise unknown_name(f"option of the {self.registry.kind} {self.name!r}", option, known)

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The keyword-only parameters of the constructor: the options that a user may set."""
        signature = inspect.signature(self.registry[self.name], eval_str=True)
        return {n: p for n, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}

    def settings(self) -> dict[str, Any]:
        """Every option with its value, defaults included: all that is needed to build this part again."""
        return {n: self.options.get(n, p.default) for n, p in self.parameters().items()}

    def build(self, *arguments: Any) -> R:
        return self.registry[self.name](*arguments, **self.options)


OWN = "own"
"""Stands in a stored run for a network or tasks that were the user's own and cannot be built again by name."""

learners: Registry[Any] = Registry("learner", "quickstudy.learners")
models: Registry[Any] = Registry("model", "quickstudy.models")
sources: Registry[Any] = Registry("task source", "quickstudy.tasks")
recipes: Registry[Any] = Registry("recipe", "quickstudy.recipes")
formats: Registry[Any] = Registry("format", "quickstudy.formats")
targets: Registry[Any] = Registry("target", "quickstudy.targets")


@models.register(OWN, hidden=True)
def _own_model(spec: Any, head: bool = True) -> Any:
    """A module of the user's own."""
    raise ConfigError(
        "This was trained with a network of your own, which is not stored. Give it again from Python: "
        "quickstudy.Run(folder, module=…), quickstudy.resume(folder, module=…) or quickstudy.load(folder, module=…)."
    )


@sources.register(OWN, hidden=True)
def _own_source() -> Any:
    """Tasks of the user's own."""
    raise ConfigError(
        "This was trained on tasks of your own, which are not stored. Give them again from Python: "
        "quickstudy.Run(folder, source=…) or quickstudy.resume(folder, source=…)."
    )
