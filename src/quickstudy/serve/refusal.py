"""What a request can do wrong, as an answer: a status of HTTP, a code for programs, a sentence for people."""

from __future__ import annotations

from typing import Any

from quickstudy.errors import CheckpointError, MissingExtra, QuickstudyError, RunError


class Refused(QuickstudyError):
    """A request that is not done. status: of HTTP, 4xx or 503. code: names the reason, as words/*.json of the page do.

    after: seconds after which it may be tried again.
    """

    def __init__(self, status: int, code: str, message: str, after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.after = status, code, after

    def to_json(self, path: str) -> dict[str, Any]:
        """What is answered at a path: the Open Inference Protocol has a text for what others say in two fields."""
        return {"error": str(self) if path.startswith("/v2") else {"code": self.code, "message": str(self)}}


def refusal(error: QuickstudyError) -> Refused:
    """An error of the library as one of the service: 422 for what was sent, 409 for what cannot be had here."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, MissingExtra):
        return Refused(409, "missing_extra", f"This server cannot do that: {error}")
    if isinstance(error, CheckpointError | RunError):
        return Refused(503, "stored", f"What the server has stored cannot be used. {error}")
    return Refused(422, "not_usable", str(error))


def too_few(names: int) -> Refused:
    found = "none" if not names else f"{names}"
    return Refused(
        409, "too_few", f"The model knows {found} of the two classes that it takes to tell them apart. Add examples."
    )


def not_found(what: str) -> Refused:
    return Refused(404, "not_found", f"There is no such {what} here. It may have been deleted, or belong to another.")


def busy(what: str, after: int = 1) -> Refused:
    return Refused(429, "busy", f"The server is busy: {what}. Try again in {after} s.", after)
