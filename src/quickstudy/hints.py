"""Whether plain data, such as JSON or options give, are what a type hint says. Nothing is converted."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

MOST = 2**63 - 1
"""The largest whole number that anything can be."""


@dataclass(frozen=True)
class Within:
    """A whole number that is not less than `least` and not more than `most`; stands in an `Annotated` hint."""

    least: int
    most: int


Size = Annotated[int, Within(1, 1 << 20)]
"""How wide something is: units, filters, columns, points."""
Count = Annotated[int, Within(0, 1 << 20)]
"""How many things lie side by side: classes, examples, tasks."""
Depth = Annotated[int, Within(0, 1000)]
"""How many things follow each other: layers, blocks."""
Steps = Annotated[int, Within(0, 100_000)]
"""How often something is done: inner steps."""


def _truth(value: Any) -> bool:
    """Whether it is a truth value, of Python or of NumPy, which is no dependency here."""
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


_SCALARS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (lambda v: isinstance(v, numbers.Integral) and not isinstance(v, bool), "a whole number"),
    float: (lambda v: isinstance(v, numbers.Real) and not isinstance(v, bool), "a number"),
    str: (lambda v: isinstance(v, str), "a text"),
    bool: (_truth, "true or false"),
    NoneType: (lambda v: v is None, "nothing"),
    None: (lambda v: v is None, "nothing"),
    list: (lambda v: isinstance(v, list | tuple), "a list"),
    tuple: (lambda v: isinstance(v, list | tuple), "a list"),
    dict: (lambda v: isinstance(v, Mapping), "an object of names and values"),
}


def misfit(value: Any, hint: Any, place: str = "it") -> str | None:
    """What keeps `value` from being what `hint` says, and where; None if nothing does. Unknown hints take anything.

    hint: scalars, lists, tuples and dicts of them, unions, literals, `TypedDict`s, dataclasses, `Annotated` by
    `Within`; a list may stand for a tuple, and an object for a dataclass, as JSON has neither. place: what the value is
    called.

    >>> misfit({"sizes": [3, "4"]}, dict[str, list[int]])
    "it['sizes'][1] is '4', expected a whole number"
    """
    if is_typeddict(hint):
        return _scalar(value, dict, place) or _keyed(value, hint, _required(hint), place)
    if isinstance(hint, type) and is_dataclass(hint):
        if isinstance(value, hint):
            return None
        needed = [f.name for f in fields(hint) if f.default is MISSING and f.default_factory is MISSING]
        return _scalar(value, dict, place) or _keyed(value, hint, needed, place, others=False)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Required, NotRequired):
        return misfit(value, inner[0], place)
    if origin is Annotated:
        return misfit(value, inner[0], place) or _within(value, inner[1:], place)
    if origin in (Union, UnionType):
        wrong = [misfit(value, one, place) for one in inner]
        return None if None in wrong else _expected(value, " or ".join(map(_words, inner)), place, wrong)
    if origin is Literal:
        return None if value in inner else _expected(value, _words(hint), place)
    if origin in (list, tuple, Sequence):
        return _listed(value, origin, inner, place)
    if origin in (dict, Mapping):
        return _scalar(value, dict, place) or _mapped(value, inner, place)
    return _scalar(value, hint, place)


def plain(value: Any) -> Any:
    """The value with numbers of Python in the place of others, such as NumPy's, also within lists, tuples and mappings.

    >>> import numpy as np
    >>> plain({"seed": np.int64(3), "sizes": (np.int32(2), 0.5)})
    {'seed': 3, 'sizes': (2, 0.5)}
    """
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value] if isinstance(value, list) else tuple(plain(one) for one in value)
    for kind, fits in ((bool, _truth), (int, _SCALARS[int][0]), (float, _SCALARS[float][0])):
        if fits(value):
            return kind(value)
    return value


def _scalar(value: Any, hint: Any, place: str) -> str | None:
    known = _SCALARS.get(hint) if isinstance(hint, Hashable) else None
    if known is None:
        return None
    fits, wanted = known
    if not fits(value):
        return _expected(value, wanted, place)
    if isinstance(value, numbers.Integral) and not -MOST <= int(value) <= MOST:
        return f"{place} is a number of {len(hex(int(value))) - 2} hexadecimal digits, more than anything can be"
    return None


def _expected(value: Any, wanted: str, place: str, wrong: Sequence[str | None] = ()) -> str:
    deeper = [text for text in wrong if text is not None and not text.startswith(f"{place} is ")]
    return deeper[0] if deeper else f"{place} is {_short(value)}, expected {wanted}"


def _short(value: Any) -> str:
    """The value as it can stand in a sentence; what is deep or long is not written out first."""
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return f"an object of {len(value)}"
    text = f"{value[:60]!r}…" if isinstance(value, str) and len(value) > 60 else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _words(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return _words(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    known = _SCALARS.get(get_origin(hint) or hint)
    return known[1] if known else getattr(hint, "__name__", str(hint))


def _within(value: Any, bounds: Sequence[Any], place: str) -> str | None:
    for bound in bounds:
        if isinstance(bound, Within) and not bound.least <= value <= bound.most:
            return f"{place} is {value}, expected {bound.least} to {bound.most:,}"
    return None


def _listed(value: Any, origin: Any, inner: Sequence[Any], place: str) -> str | None:
    if wrong := _scalar(value, list, place):
        return wrong
    if origin is tuple and inner[-1:] != (Ellipsis,):
        if len(value) != len(inner):
            return f"{place} is {_short(value)}, expected {len(inner)}"
        kinds = list(inner)
    else:
        kinds = [inner[0]] * len(value)
    wrongs = (misfit(one, kind, f"{place}[{i}]") for i, (one, kind) in enumerate(zip(value, kinds, strict=True)))
    return next((text for text in wrongs if text), None)


def _mapped(value: Mapping[Any, Any], inner: Sequence[Any], place: str) -> str | None:
    wrongs = (misfit(one, inner[1], f"{place}[{name!r:.60}]") for name, one in value.items())
    return next((text for text in wrongs if text), None)


def _required(hint: Any) -> list[str]:
    """The names that a `TypedDict` needs; its own list of them is wrong where annotations are texts."""
    kinds, total = get_type_hints(hint, include_extras=True), hint.__total__
    return [
        n
        for n, kind in kinds.items()
        if get_origin(kind) is Required or (total and get_origin(kind) is not NotRequired)
    ]


def _keyed(value: Mapping[Any, Any], hint: Any, needed: Iterable[str], place: str, others: bool = True) -> str | None:
    """others: whether there may be names that the hint does not know."""
    kinds = get_type_hints(hint, include_extras=True)
    for name in sorted(needed):
        if name not in value:
            return f"{place} lacks {name!r}, {_words(kinds[name])}"
    if not others and (strange := [name for name in value if name not in kinds]):
        return f"{place} has {_short(strange[0])}, which is not known here"
    wrongs = (misfit(value[name], kind, f"{place}[{name!r}]") for name, kind in kinds.items() if name in value)
    return next((text for text in wrongs if text), None)
