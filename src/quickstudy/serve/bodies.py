"""What a request carries: records and their labels, from a form or from JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from quickstudy.errors import MissingExtra
from quickstudy.formats.base import Format
from quickstudy.formats.received import Most, Upload
from quickstudy.serve.refusal import Refused

_PARTS = 5000
_OF_ALL = ("files", "records", "labels")


class Given(NamedTuple):
    """records: as the format takes them, see `Format.received`. labels: of each, or one for all. further: the rest."""

    records: list[Any]
    labels: list[Any]
    further: Mapping[str, Any]


def given(kind: str, body: bytes, format: Format, most: Most, several: int) -> Given:
    """What a body says. kind: its content type. several: records, at most. 400, 413, 415 or 422 for others."""
    records, labels, further = read(kind, body)
    require_few(len(records), several)
    return Given([format.received(one, most) for one in records], labels, further)


def read(kind: str, body: bytes) -> Given:
    """What a body says, before it is known what records are."""
    medium = kind.partition(";")[0].strip().lower()
    if medium == "multipart/form-data":
        return _of_form(kind, body)
    if medium in ("application/json", "") or not body:
        return _of_json(parsed(body) if body else {})
    raise Refused(
        415, "content_type",
        f"The body is {medium or 'of no type'!r:.60}, and is read as multipart/form-data or application/json. Send one "
        "of these.",
    )  # fmt: skip


def require_few(count: int, most: int) -> None:
    """413 for more records than one request may hold, before each is looked at."""
    if count > most:
        raise Refused(
            413, "too_many_records", f"There are {count} records, more than the limit of {most} at once. Send fewer."
        )


def require_known(further: Iterable[str], address: Iterable[str], known: Iterable[str]) -> None:
    """422 for fields that mean nothing here, which would be left out without a word. address: those behind its "?"."""
    for name in address:
        raise Refused(
            422,
            "field",
            f"Fields are sent in the body, and {name!r:.60} stands in the address. Send it as a form or JSON.",
        )
    for name in sorted(set(further) - set(known)):
        raise Refused(
            422,
            "field",
            f"There is no field {name!r:.60} here. There are {', '.join(_OF_ALL + tuple(known))}. Correct it.",
        )


def parsed(body: bytes) -> dict[str, Any]:
    """A body that is a JSON object. 400 for one that is none."""
    try:
        told = json.loads(body, parse_constant=_refused)
        if b"\\ud" in body.lower():  # half a character, which is no text
            json.dumps(told, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # of UTF-8, too
        raise Refused(400, "json", f"The body is no JSON ({str(error)[:80]}). Correct it.") from error
    if not isinstance(told, dict):
        raise Refused(400, "json", "The body must be a JSON object, {…}, and is another value. Correct it.")
    return told


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _of_json(told: Mapping[str, Any]) -> Given:
    records, labels = told.get("records", []), told.get("labels", [])
    for name, one in (("records", records), ("labels", labels)):
        if not isinstance(one, list):
            raise Refused(422, "json", f"{name} must be a list, found {type(one).__name__}. Send [ … ].")
    further = {name: one for name, one in told.items() if name not in ("records", "labels")}
    return Given([_record(one, i) for i, one in enumerate(records)], list(labels), further)


def _record(one: Any, index: int) -> Any:
    """A record of JSON; a file in base64 as its bytes."""
    if not isinstance(one, dict) or not isinstance(one.get("file"), str) or not one.keys() <= {"file", "name"}:
        return one
    try:
        data = base64.b64decode(one["file"].rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(
            422, "base64", f"The file of record {index + 1} is no base64 ({error}). Encode it again."
        ) from error
    name = one.get("name")
    return Upload(data, name if isinstance(name, str) and name else f"record {index + 1}")


class _Part(NamedTuple):
    header: dict[bytes, bytes]
    data: bytearray


def _of_form(kind: str, body: bytes) -> Given:
    records: list[Any] = []
    labels: list[Any] = []
    further: dict[str, Any] = {}
    for header, data in _parts(kind, body):
        name, filename = _disposition(header)
        if filename is not None or name == "files":
            if name not in ("files", "file"):
                raise Refused(422, "form", f"Files are sent as files, found a file as {name!r:.60}. Rename the field.")
            records.append(Upload(bytes(data), filename or f"file {len(records) + 1}"))
            continue
        text = _text(name, data)
        if name in ("labels", "label"):
            labels.append(text)
        elif name in ("records", "record"):
            records.append(text)
        else:
            further[name] = text
    return Given(records, labels, further)


def _text(name: str, data: bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(400, "form", f"The field {name!r:.60} is no text in UTF-8. Encode it so.") from error


def _disposition(header: Mapping[bytes, bytes]) -> tuple[str, str | None]:
    """The name of a field, and that of its file; None where it is no file."""
    from python_multipart.multipart import parse_options_header

    _, options = parse_options_header(header.get(b"content-disposition", b""))
    name, file = options.get(b"name", b""), options.get(b"filename")
    return name.decode(errors="replace"), None if file is None else file.decode(errors="replace")


def _parts(kind: str, body: bytes) -> list[_Part]:
    """The parts of a form that was read whole; 400 for one that is broken."""
    try:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header
    except ImportError as error:
        raise MissingExtra("python-multipart", "serve", "Reading forms") from error
    _, options = parse_options_header(kind.encode("latin-1", "replace"))
    boundary = options.get(b"boundary", b"")
    parts: list[_Part] = []
    field, value = bytearray(), bytearray()
    ended = False

    def begin() -> None:
        if len(parts) >= _PARTS:
            raise Refused(413, "form", f"The form has more than {_PARTS} fields. Send it in parts.")
        parts.append(_Part({}, bytearray()))

    def header_end() -> None:
        parts[-1].header[bytes(field).lower()] = bytes(value)
        field.clear()
        value.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_part_data": lambda data, start, stop: parts[-1].data.extend(data[start:stop]),
                "on_header_field": lambda data, start, stop: field.extend(data[start:stop]),
                "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
                "on_header_end": header_end,
                "on_end": end,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refused(400, "form", f"The form cannot be read ({str(error)[:80]}). Send it anew.") from error
    if not ended:
        raise Refused(400, "form", "The form is cut off: its last boundary is missing. Send it anew.")
    return parts
