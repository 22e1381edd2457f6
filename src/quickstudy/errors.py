"""What a user can do wrong. Every message says what was wrong, what was found, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_ALLOCATING = re.compile("allocate memory|out of memory|Tried to allocate")  # what PyTorch says then


class QuickstudyError(Exception):
    """Base of every error that quickstudy raises on purpose; the command line prints it without a traceback."""


class DataError(QuickstudyError):
    """The user's data cannot be used as asked: too few classes, broken images, NaN, labels that do not match."""


class ShapeError(QuickstudyError, ValueError):
    """A tensor has the wrong shape or dtype; the message names the axis and both sizes."""


class ConfigError(QuickstudyError, ValueError):
    """A name, option or combination of options that does not exist or does not fit together."""


class ModelError(QuickstudyError):
    """A network cannot do what a learner asks of it (for instance BatchNorm tracking inside an inner loop)."""


class CheckpointError(QuickstudyError):
    """A stored file is truncated, edited, or of a newer format."""


class RunError(QuickstudyError):
    """A run folder exists already, is missing, or holds nothing to go on from."""


class TrainingError(QuickstudyError):
    """Training cannot go on: the loss is not finite."""


class ProcessLost(QuickstudyError):
    """Of several processes that train together, another one has ended or does not answer."""


class MissingExtra(QuickstudyError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str, otherwise: str = "") -> None:
        """otherwise: what can be done without it, as a sentence."""
        self.package, self.extra = package, extra
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'quickstudy[{extra}]'{otherwise and '. ' + otherwise}"
        )


def lacks_memory(error: BaseException) -> bool:
    """Whether Python, or PyTorch for this device, says that something did not fit into memory."""
    return isinstance(error, MemoryError) or bool(_ALLOCATING.search(str(error)))


@contextmanager
def fitting_together(what: str, remedy: str) -> Iterator[None]:
    """Within it, errors of Python and PyTorch where stored things do not fit each other are a CheckpointError.

    what: does not fit, as the beginning of a sentence. remedy: what to do, as one.
    """
    try:
        yield
    except QuickstudyError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError) as error:
        if lacks_memory(error):
            raise
        raise CheckpointError(f"{what} ({type(error).__name__}: {str(error)[:200]}). {remedy}") from error


def first_of(names: Iterable[object], most: int = 5) -> str:
    """The first of some names, for a sentence, and whether there are more.

    >>> first_of("abc", most=2)
    'a, b, …'
    """
    told = [str(name) for name in names]
    return ", ".join(told[:most]) + (", …" if len(told) > most else "")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ConfigError:
    """A ConfigError that names what was asked for and suggests the nearest known names."""
    choices = sorted(known)
    near = difflib.get_close_matches(str(name), choices, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return ConfigError(f"There is no {kind} called {name!r:.80}. {hint}Known: {', '.join(choices) or 'none'}.")
