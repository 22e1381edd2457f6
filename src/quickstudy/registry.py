"""Named parts. A registry maps names to constructors; a `Part` is a constructor with its options, stored in a run.

Tests, command-line choices, the docs' tables and the benchmarks all read the registries, so that a part is announced
in one place. A user's own part joins with the same decorator.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

from quickstudy.errors import ConfigError, unknown_name
from quickstudy.hints import misfit
from quickstudy.hub import local, on_hub
from quickstudy.space import Choice, Range, Space, Values
from quickstudy.traits import (
    LearnerTraits,
    ModelTraits,
    RecipeTraits,
    SelectorTraits,
    SourceTraits,
    StrategyTraits,
    Traits,
)

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
T = TypeVar("T", bound=Traits)

_HOMES = tuple(
    f"quickstudy.{name}" for name in ("targets", "formats", "models", "tasks", "learners", "recipes", "select")
)
"""The packages that register parts, each after those it imports."""
_ALSO = ("quickstudy.rl", "quickstudy.packages")
"""What registers parts of several kinds, and is imported after a home."""


class _Entry(NamedTuple, Generic[R, T]):
    constructor: Callable[..., R]
    traits: T


class Registry(Mapping[str, Callable[..., R]], Generic[R, T]):
    """Constructors by name: `@learners.register("maml", head=True)`; `learners["mamll"]` suggests the nearest name.

    traits: what can be said of a part. home: the package whose import registers quickstudy's own; it is imported when
    the registry is first read.
    """

    def __init__(self, kind: str, traits: type[T], home: str = "") -> None:
        self.kind, self._traits, self._home = kind, traits, home
        self._entries: dict[str, _Entry[R, T]] = {}

    def _load(self) -> dict[str, _Entry[R, T]]:
        """Every part; while its home is being imported, other threads wait for it and the importing one sees what is
        registered so far."""
        if home := self._home:
            # Who waits for whom is left to the import system: it knows of the locks of all modules, so it cannot
            # deadlock as a lock of ours held during an import could. But it gives up where one thread imports a package
            # while another imports a module of it, so all threads import whole packages, in one order.
            for package in _HOMES[: _HOMES.index(home)] if home in _HOMES else ():
                importlib.import_module(package)
            spec = importlib.import_module(home).__spec__
            if not getattr(spec, "_initializing", False):
                for package in _ALSO:
                    importlib.import_module(package)
                self._home = ""
        return self._entries

    def register(self, name: str, **traits: Any) -> Callable[[F], F]:
        """Decorator: announce a constructor under `name`, with its traits. ConfigError for a trait that does not exist
        or is of another type, and for a name that is taken."""
        entry_traits = self._checked(name, traits)

        def add(constructor: F) -> F:
            if constructor.__module__.partition(".")[0] != __name__.partition(".")[0]:
                self._load()  # so that a name of ours is refused here
            entry = _Entry(constructor, entry_traits)
            if self._entries.setdefault(name, entry) is not entry:
                raise ConfigError(f"There is already a {self.kind} called {name!r}. Choose another name.")
            return constructor

        return add

    def _checked(self, name: str, traits: dict[str, Any]) -> T:
        types = get_type_hints(self._traits)
        for trait, value in traits.items():
            if trait not in types:
                raise unknown_name(f"trait of a {self.kind}", trait, types)
            if wrong := misfit(value, types[trait], f"The trait {trait!r} of the {self.kind} {name!r}"):
                raise ConfigError(f"{wrong}. Correct it.")
        return self._traits(**traits)

    def _entry(self, name: str) -> _Entry[R, T]:
        entries = self._load()
        if name not in entries:
            raise ConfigError(
                f"{unknown_name(self.kind, name, dict(entries))} One of your own is known after the file that "
                "registers it was imported (on the command line: --import FILE.py)."
            )
        return entries[name]

    def traits(self, name: str) -> T:
        """What was said of `name` when it was registered."""
        return self._entry(name).traits

    def summary(self, name: str) -> str:
        """The first line of the constructor's docstring."""
        return (inspect.getdoc(self[name]) or "").split("\n")[0]

    def name_of(self, constructor: Callable[..., Any]) -> str:
        """The name that a constructor is registered under; ConfigError if it is not."""
        for name, entry in list(self._load().items()):
            if entry.constructor is constructor:
                return name
        raise ConfigError(
            f"The {self.kind} {getattr(constructor, '__name__', constructor)!r} has no name by which it could be built "
            f"again. Register it: @quickstudy.registry.{self.kind}s.register('NAME')."
        )

    def describe(self, name: str) -> dict[str, str]:
        """What the constructor's docstring says of each option, on one line; '' where it says nothing.

        Descriptions stand there as `lr, steps: of the inner loop.`, at the start of a line or after a sentence, and go
        on to the next parameter's or to a blank line.
        """
        parameters = inspect.signature(self[name]).parameters
        one = f"(?:{'|'.join(map(re.escape, parameters)) or '(?!)'})"
        start = re.compile(rf"(?:^[ ]*|(?<=[.)] ))({one}(?:, {one})*):\s", re.M)
        said: dict[str, str] = {}
        for paragraph in (inspect.getdoc(self[name]) or "").split("\n\n"):
            _, *pieces = start.split(paragraph)  # names and text in turn
            for names, text in zip(pieces[::2], pieces[1::2], strict=True):
                said |= dict.fromkeys(names.split(", "), " ".join(text.split()))
        return {option: said.get(option, "") for option in self.part(name).parameters()}

    def __getitem__(self, name: str) -> Callable[..., R]:
        return self._entry(name).constructor

    def __contains__(self, name: object) -> bool:
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, entry in list(self._load().items()) if not entry.traits.hidden])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def part(self, name: str, /, **options: Any) -> Part[R]:
        """The constructor called `name` with these options; options that it does not take are refused."""
        return Part(self, name, options)

    def make(self, name: str, /, **options: Any) -> R:
        """What the constructor called `name` makes of these options."""
        return self.part(name, **options).build()


@dataclass(frozen=True)
class Part(Generic[R]):
    """A registered constructor and the options it is called with; equal parts build equal things.

    An option may be a `Range` or a `Choice`: the part is then a space, and `at` is one of its points.
    """

    registry: Registry[R, Any] = field(repr=False)
    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = self.parameters()
        for option, value in self.options.items():
            if option not in known:
                raise unknown_name(f"option of the {self.registry.kind} {self.name!r}", option, known)
            what = f"The option {option!r} of the {self.registry.kind} {self.name!r}"
            for one in value.ends if isinstance(value, Range | Choice) else (value,):
                if wrong := misfit(one, known[option].annotation, what):
                    raise ConfigError(f"{wrong}. Correct it.")

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The keyword-only parameters of the constructor: the options that a user may set."""
        signature = inspect.signature(self.registry[self.name], eval_str=True)
        return {n: p for n, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}

    def settings(self) -> dict[str, Any]:
        """Every option with its value, defaults included: all that is needed to build this part again.

        An option without a default that was not given yet is left out.
        """
        known = {n: self.options.get(n, p.default) for n, p in self.parameters().items()}
        return {n: value for n, value in known.items() if value is not inspect.Parameter.empty}

    @property
    def space(self) -> Space:
        """The options that are open."""
        return Space({n: v for n, v in self.options.items() if isinstance(v, Range | Choice)})

    def at(self, values: Values) -> Part[R]:
        """The part with a value for each option that is open; ConfigError for others."""
        space = self.space
        space.check(values)
        return replace(self, options=self.options | space.settled(values))

    def drawn(self) -> Part[R]:
        """The part without weights from elsewhere: what it makes has the same shapes."""
        return replace(self, options=self.options | getattr(self.registry.traits(self.name), "drawn", {}))

    def settled(self) -> Part[R]:
        """The part with what it reads from elsewhere among its options; it does that where a run begins. One that
        leaves options open stays as it is."""
        if self.space.axes:
            return self
        self._complete()
        settle = getattr(self.registry.traits(self.name), "settle", None)
        options = self.options if settle is None else settle(**self.settings() | self._fetched())
        given = {place: v if on_hub(v) else str(Path(v).absolute()) for place, v in self._places().items()}
        return replace(self, options=options | given)

    def _places(self) -> dict[str, str]:
        """The options that name files, where they are given."""
        names = getattr(self.registry.traits(self.name), "places", ())
        return {name: place for name in names if (place := self.options.get(name))}

    def _fetched(self) -> dict[str, str]:
        """The options that name data sets of the hub, as the folders with their copies."""
        return {name: local(place) for name, place in self._places().items() if on_hub(place)}

    def _complete(self) -> None:
        """ConfigError where an option is missing."""
        missing = [n for n, p in self.parameters().items() if p.default is p.empty and n not in self.options]
        if missing:
            raise ConfigError(f"The {self.registry.kind} {self.name!r} needs the option {missing[0]!r}. Give it.")
        if open_ := self.space.names:
            raise ConfigError(
                f"The {self.registry.kind} {self.name!r} leaves {', '.join(open_)} open. Choose values by `at`."
            )

    def build(self, *arguments: Any) -> R:
        """What it makes; ConfigError where an option is missing."""
        self._complete()
        return self.registry[self.name](*arguments, **self.options | self._fetched())


OWN = "own"
"""Stands in a stored run for a network or tasks that were the user's own and cannot be built again by name."""

learners: Registry[Any, LearnerTraits] = Registry("learner", LearnerTraits, "quickstudy.learners")
models: Registry[Any, ModelTraits] = Registry("model", ModelTraits, "quickstudy.models")
sources: Registry[Any, SourceTraits] = Registry("task source", SourceTraits, "quickstudy.tasks")
recipes: Registry[Any, RecipeTraits] = Registry("recipe", RecipeTraits, "quickstudy.recipes")
selectors: Registry[Any, SelectorTraits] = Registry("selector", SelectorTraits, "quickstudy.select")
strategies: Registry[Any, StrategyTraits] = Registry("strategy", StrategyTraits, "quickstudy.select")
formats: Registry[Any, Traits] = Registry("format", Traits, "quickstudy.formats")
targets: Registry[Any, Traits] = Registry("target", Traits, "quickstudy.targets")


@models.register(OWN, hidden=True)
def _own_model(spec: Any, head: bool = True) -> Any:
    """A module of the user's own."""
    raise ConfigError(
        "This was trained with a network of your own, which is not stored. Give it again: on the command line by "
        "--import FILE.py, where FILE.py has a function module() that returns it; from Python by "
        "quickstudy.Run(folder, module=…), quickstudy.resume(folder, module=…) or quickstudy.load(folder, module=…)."
    )


@sources.register(OWN, hidden=True)
def _own_source() -> Any:
    """Tasks of the user's own."""
    raise ConfigError(
        "This was trained on tasks of your own, which are not stored. Give them again: on the command line by --import "
        "FILE.py, where FILE.py has a function source() that returns them; from Python by quickstudy.Run(folder, "
        "source=…) or quickstudy.resume(folder, source=…)."
    )
