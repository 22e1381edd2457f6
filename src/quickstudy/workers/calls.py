"""A call as bytes, on its way to another process, and what came of it, on its way back."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from quickstudy.errors import ConfigError, MissingExtra, QuickstudyError


class Answer(NamedTuple):
    """What came of a call. error: what went wrong, '' if nothing did."""

    result: Any
    error: str = ""


def answered(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Answer:
    """What comes of `function(*arguments)`. A failure is an answer too: it must not end the calls beside it."""
    try:
        return Answer(function(*arguments))
    except Exception as error:  # whatever the caller's function raises
        return Answer(None, _told(error))


def packed(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """The call for `computed`, with what __main__ defines by value. Raises ConfigError where it cannot be sent."""
    try:
        return _bytes((function, arguments))
    except MissingExtra:
        raise
    except Exception as error:  # any, since objects pickle by methods of their own
        raise ConfigError(
            f"A call of {getattr(function, '__qualname__', function)!s:.80} cannot be sent to another process "
            f"({_told(error)}). Keep locks, open files and the like out of its arguments, or compute by 'loop' or "
            "on 'threads'."
        ) from error


def computed(call: bytes) -> bytes:
    """The Answer to a call, on one thread of PyTorch's; both are as they travel."""
    try:
        function, arguments = pickle.loads(call)
    except Exception as error:
        answer = Answer(None, f"it could not be read by its worker: {_told(error)}")
    else:
        torch = sys.modules.get("torch")  # imported, where the call is about tensors, by reading it
        if torch is not None and torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        answer = answered(function, arguments)
    try:
        return _bytes(tuple(answer))
    except Exception as error:
        return pickle.dumps((None, f"its result cannot be sent back: {_told(error)}"))


def unpacked(answer: bytes) -> Answer:
    """The Answer that `computed` gave."""
    try:
        return Answer(*pickle.loads(answer))
    except Exception as error:
        return Answer(None, f"its result could not be read: {_told(error)}")


def _bytes(what: Any) -> bytes:
    try:
        import cloudpickle
    except ImportError as error:
        raise MissingExtra("cloudpickle", "cluster", "Computing in other processes") from error
    return cloudpickle.dumps(what)  # type: ignore[no-any-return]


def _told(error: BaseException) -> str:
    """An error in words, with the line where it was raised if it is none of ours."""
    words = f"{type(error).__name__}: {str(error)[:500]}"
    places = traceback.extract_tb(error.__traceback__)
    return words if isinstance(error, QuickstudyError) else f"{words} ({places[-1].filename}, line {places[-1].lineno})"
