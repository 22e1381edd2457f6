"""Ask an exported model: python read.py FILE …; from Python: from read import Model; Model(folder).predict(records).

It follows model.json, which lies beside it, and needs numpy and onnxruntime (or torch, for a model.pt2); pillow for
images, tokenizers for texts, soundfile for sound, and soxr for sound of other rates. It may be copied and changed.
"""

from __future__ import annotations

import csv
import datetime
import json
import math
import sys
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np


class Model:
    """records: files, or for images pictures of Pillow; texts; rows as mappings or lists; the values of one series;
    recordings as files or pairs (samples, rate)."""

    def __init__(self, folder: Any = Path(__file__).parent, names: Any = None, support: Any = None) -> None:
        self.folder = Path(folder)
        self.facts = json.loads((self.folder / "model.json").read_text("utf-8"))
        self.names, self._support = names or self.facts["names"], support
        self.graph = self.facts["graphs"]["adapt" if support is not None else "model"]
        self._run = _runner(self.folder / self.graph["file"])

    @classmethod
    def learn(cls, records: Any, labels: Any, folder: Any = Path(__file__).parent) -> Model:
        """The model of other examples: of an export with `adapt`."""
        facts = json.loads((Path(folder) / "model.json").read_text("utf-8"))
        if "adapt" not in facts["graphs"]:
            raise ValueError("This model was exported without learning. Export it again: --with-adapt")
        names = sorted(set(labels)) if facts["says"] == "classes" else []
        if len(names) == 1:
            raise ValueError(
                f"It takes two classes to tell them apart, found {names[0]!r} alone. Give examples of more."
            )
        y: Any = np.array([names.index(one) for one in labels]) if names else np.array(labels, np.float32)
        y = y.reshape(len(y), *facts["target"]["options"]["shape"]) if not names else y
        return cls(folder, names, {**stored(facts["reading"], records, learnt=True), "": y})

    def ask(self, records: Any) -> tuple[dict[str, Any], Any]:
        """What the graph says of records, by output, and which record each row is of."""
        given = stored(self.facts["reading"], records)
        owner = given.pop("record", None)
        if self._support is not None:
            y = self._support[""]
            given |= {f"support_{name}": value for name, value in self._support.items() if name not in ("", "record")}
            given |= {"labels": y, "classes": np.arange(len(self.names))}
        wanted = [one["name"] for one in self.graph["inputs"]]
        said = self._run({name: given[name] for name in wanted})
        return dict(zip([one["name"] for one in self.graph["outputs"]], said, strict=True)), owner

    def predict(self, records: Any, steps: int = 1) -> list[dict[str, Any]]:
        """An answer for each record; of a series one for each of the next `steps` values."""
        if self.facts["reading"]["kind"] == "series":
            values = [float(value) for value in _values(self.facts["reading"], records)]
            for _ in range(steps):
                values.append(float(self.ask(values)[0]["mean"].reshape(-1)[0]))
            return [{"value": value} for value in values[len(values) - steps :]]
        of_all, owner = self.ask(records)
        said = {one["name"]: of_all[one["name"]] for one in self.graph["outputs"] if one["shape"][0] == "n"}
        if not of_all.get("trusted", True):  # of tasks of another kind than this one
            said.pop("known", None)
        least = self._known_least(of_all)
        if owner is not None and len(owner) and owner[-1] + 1 < len(owner):
            said = self._together(said, owner)
        each = [{name: value[i] for name, value in said.items()} for i in range(len(self._first(said)))]
        return [self._answer(one, least) for one in each]

    def _known_least(self, said: dict[str, Any]) -> Any:
        """Below which `known` means none of the classes, where one in twenty of these may be taken so; None if nothing
        tells."""
        trust = self.facts["trust"] or {}
        if self._support is None:
            return trust.get("known_least", {}).get("0.05")
        return dict(zip(trust.get("rates", ()), said.get("known_least", ()), strict=False)).get(0.05)

    def _first(self, said: dict[str, Any]) -> Any:
        return said["mean"] if "mean" in said else said["probabilities"]

    def _together(self, said: dict[str, Any], owner: Any) -> dict[str, Any]:
        """The mean over the parts that each record was cut into."""
        mean: dict[str, Any] = {
            name: np.stack([said[name][owner == i].mean(0) for i in range(owner[-1] + 1)])
            for name in ("logits", "mean") if name in said
        }  # fmt: skip
        if "logits" in mean:
            sharp = mean["logits"] / (self.facts["trust"] or {}).get("temperature", 1.0)
            sharp = np.exp(sharp - sharp.max(1, keepdims=True))
            mean["probabilities"] = sharp / sharp.sum(1, keepdims=True)
        if "known" in said:  # where one part is of a class, all is
            mean["known"] = np.array([said["known"][owner == i].max() for i in range(owner[-1] + 1)])
        return mean

    def _answer(self, said: dict[str, Any], least: Any) -> dict[str, Any]:
        says = self.facts["says"]
        if says == "numbers":
            more = {"spread": said["spread"].squeeze().tolist()} if "spread" in said else {}
            return {"value": said["mean"].squeeze().tolist(), **more}
        p = said["probabilities"]
        if says == "masks":
            return {"mask": p.argmax(0).astype(np.uint8), "doubt": 1 - p.max(0)}
        by_name = {name: float(one) for name, one in zip(self.names, p, strict=True)}
        if says == "tags":
            return {"tags": [name for name, one in by_name.items() if one > 0.5], "probabilities": by_name}
        answer: dict[str, Any] = {"label": self.names[int(p.argmax())], "probabilities": by_name}
        if "known" in said:
            answer["known"] = float(said["known"])
            if least is not None:
                answer["refused"] = bool(answer["known"] < least)
        return answer


def _runner(file: Path) -> Any:
    """From inputs by name to a list of outputs."""
    if file.suffix == ".pt2":
        import torch

        program = torch.export.load(str(file)).module()

        def run(given: dict[str, Any]) -> list[Any]:
            with torch.no_grad():
                said = program(*(torch.from_numpy(np.ascontiguousarray(one)) for one in given.values()))
            return [value.numpy() for value in said.values()]

        return run
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def stored(reading: dict[str, Any], records: Any, learnt: bool = False) -> dict[str, Any]:
    """What the graph takes of records, by name. learnt: they are examples, of each of which one window counts."""
    kind = reading["kind"]
    if kind == "series":
        window, seen = reading["window"], _finite(np.array(_values(reading, records), np.float64), "value")
        if len(seen) < 2:
            raise ValueError(f"A series must have been seen for at least 2 points, found {len(seen)}. Wait for more.")
        return {"x": np.concatenate([np.full(window, math.nan), seen])[None, -window:]}
    if kind == "table":
        return {"x": _table(reading, records)}
    if kind == "array":
        arrays = [np.load(one, allow_pickle=False) if isinstance(one, str | Path) else one for one in records]
        return {"x": _finite(np.stack(arrays), "record").astype(np.int64 if reading["ids"] else np.float32)}
    records = [records] if isinstance(records, str | bytes | Path) or hasattr(records, "convert") else list(records)
    if kind == "image":
        return {"x": np.stack([_image(reading, one) for one in records])}
    return _texts(reading, records) if kind == "text" else _sounds(reading, records, learnt)


def _finite(x: Any, what: str) -> Any:
    """x, of which no record holds what cannot be computed with."""
    bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
    if len(bad):
        raise ValueError(f"NaN or infinite numbers in {what} {bad[0] + 1} ({len(bad)} in all). Fill or drop them.")
    return x


# Images


def _image(how: dict[str, Any], file: Any) -> Any:
    """(channels, size, size) uint8 of a file or a picture of Pillow."""
    size, ink = how["size"], how["ink"]
    if ink is None:
        pixels, extent = _pixels(file, how["channels"], size, how["background"])
        pixels = _fit(pixels, size, extent)
        return 255 - pixels if how["invert"] else pixels
    drawn = np.zeros((1, size, size), np.uint8)
    for background in ("white", "black") if how["background"] == "white" else ("black", "white"):
        drawn = _inked(_pixels(file, 1, size * ink["fine"], background)[0][0].astype(np.int16), size, ink)
        if drawn.any():
            break
    return drawn


def _pixels(file: Any, channels: int, side: int, background: str) -> tuple[Any, tuple[float, float]]:
    """(channels, H, W) uint8, not much more than `side`, and the height and width that they stand for."""
    from PIL import Image, ImageOps

    image = file if hasattr(file, "convert") else Image.open(file)
    size, scale = image.size, 1
    if max(size) > 2 * side:
        width, height = (max(1, one * 2 * side // max(size)) for one in size)
        image.draft(None, (width, height))  # of JPEG alone
        scale = max(1, round(size[0] / image.width))
    flat = ImageOps.exif_transpose(image)
    if flat.mode.startswith("I"):
        flat = Image.fromarray((np.asarray(flat).clip(0, 65535) // 257).astype(np.uint8))
    if flat.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in flat.info:
        flat = flat.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", flat.size, background), flat)
    flat = flat.convert("L" if channels == 1 else "RGB")
    turned = flat.size if scale == 1 else (size if flat.size == image.size else size[::-1])
    if (factor := max(flat.size) // (4 * side)) > 1:
        flat, scale = flat.reduce(factor), scale * factor
    pixels = np.asarray(flat)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), (turned[1] / scale, turned[0] / scale)


def _fit(pixels: Any, size: int, extent: tuple[float, float]) -> Any:
    """The longer side as `size`, in a square that the median of the border fills."""
    height, width = extent
    if (height, width) == pixels.shape[1:] == (size, size):
        return pixels
    longer = max(height, width)
    new = max(1, round(height * size / longer)), max(1, round(width * size / longer))
    share = _areas if longer > size else _between
    (down, of_rows), (across, of_columns) = share(height, new[0]), share(width, new[1])
    sums = down @ pixels.astype(np.float64) @ across.T  # whole numbers: the same in any order, on any machine
    small = (sums / (of_rows * of_columns)).round().astype(np.uint8)
    edges = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1)
    middle = np.sort(edges, axis=1)[:, (edges.shape[1] - 1) // 2]
    square = np.repeat(middle, size * size).reshape(-1, size, size)
    top, left = (size - new[0]) // 2, (size - new[1]) // 2
    square[:, top : top + new[0], left : left + new[1]] = small
    return square


def _areas(old: float, new: int) -> tuple[Any, int]:
    """(new, ⌈old⌉): how much of each old pixel lies in each new one, in whole numbers, and what each row sums to."""
    length, part = Fraction(old).limit_denominator(1 << 24).as_integer_ratio()
    edges = np.arange(new + 1, dtype=np.float64) * length
    pixel = np.arange(math.ceil(old), dtype=np.float64) * (part * new)
    overlap = np.minimum(edges[1:, None], pixel + part * new) - np.maximum(edges[:-1, None], pixel)
    return overlap.clip(0), length


def _between(old: float, new: int) -> tuple[Any, int]:
    """As `_areas`: how much each old pixel counts by how near its middle is, as bilinear."""
    count = int(old)
    middle = (np.arange(new, dtype=np.float64) * 2 + 1) * count
    pixel = (np.arange(count, dtype=np.float64) * 2 + 1) * new
    inside = middle.clip(new, (2 * count - 1) * new)
    return (2 * new - abs(pixel - inside[:, None])).clip(0), 2 * new


def _inked(plane: Any, size: int, how: dict[str, Any]) -> Any:
    """A grey canvas as ink, 255 on 0, cut to what is drawn."""
    border = np.sort(np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]]))
    ink = abs(plane - border[(len(border) - 1) // 2])
    strongest = int(ink.max())
    if strongest < how["faint"]:
        return np.zeros((1, size, size), np.uint8)
    ink = np.where(ink * 4 >= how["faint"], ink, 0)
    rows, columns = (np.flatnonzero((ink > np.float32(how["share"] * strongest)).any(axis)) for axis in (1, 0))
    (top, bottom), (left, right) = ((int(one[0]), int(one[-1]) + 1) for one in (rows, columns))
    side = max(bottom - top, right - left)
    side += 2 * max(1, round(how["margin"] * side))
    up, back = (top + bottom - side) // 2, (left + right - side) // 2
    wide = np.pad(ink, side)[up + side : up + 2 * side, back + side : back + 2 * side]
    small = _fit(wide.astype(np.uint8)[None], size, (side, side)).astype(np.float32)
    return (small * np.float32(255) / max(small.max(), np.float32(1))).round().astype(np.uint8)


# Texts


def _texts(how: dict[str, Any], texts: Any) -> dict[str, Any]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(how["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(how["length"])
    ids = np.full((len(texts), how["length"]), how["padding"], np.int32)
    mask = np.zeros((len(texts), how["length"]), bool)
    for row, one in enumerate(texts):
        text = one.read_text("utf-8-sig") if isinstance(one, Path) else one
        found = tokenizer.encode(text).ids if text.strip() else []
        if len(found) <= tokenizer.num_special_tokens_to_add(False):
            raise ValueError(f"Text {row + 1}, {text!r:.60}, is empty or gives no token. Take it out.")
        ids[row, : len(found)], mask[row, : len(found)] = found, True
    return {"input_ids": ids, "attention_mask": mask}


# Tables and series


def _lines(path: Any) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _values(how: dict[str, Any], records: Any) -> Any:
    return [float(line[how["value"]]) for line in _lines(records)] if isinstance(records, str | Path) else records


def _table(how: dict[str, Any], records: Any) -> Any:
    rows = _lines(records) if isinstance(records, str | Path) else list(records)
    names = how["names"] or list(range(how["columns"]))
    cells = [[row[name] for name in names] if isinstance(row, dict) else list(row) for row in rows]
    if how["schema"] is None:
        return _finite(np.array([[float(cell) for cell in row] for row in cells], np.float32), "row")
    return np.array(
        [[_cell(c, one, how) for c, one in zip(how["schema"], row, strict=True)] for row in cells], np.float32
    )


def _cell(column: dict[str, Any], cell: Any, how: dict[str, Any]) -> tuple[float, float, float]:
    """The value in spreads, 1 where it is missing, the number of its category."""
    cell = cell.strip() if isinstance(cell, str) else cell.item() if hasattr(cell, "item") else cell
    if column["kind"] == "nothing":
        return 0.0, 0.0, 0.0
    gap = cell is None or cell != cell or (isinstance(cell, str) and cell.casefold() in how["missing"])
    number = None if gap else _number(column, cell)
    if number is None:
        return 0.0, 1.0, 0.0
    code = 1 + number if column["kind"] in ("category", "boolean") else 0.0
    return (number - column["centre"]) / column["spread"], 0.0, code


def _number(column: dict[str, Any], cell: Any) -> float | None:
    kind, values = column["kind"], column["values"]
    if kind == "category":
        written = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
        if written in values:
            return float(values.index(written))
        warnings.warn(f"{written!r:.60} in column {column['name']!r} was never seen: it counts as empty.", stacklevel=2)
        return None
    try:
        number: float = _READINGS[kind](cell) - (_days(values[0]) if kind == "date" else 0.0)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        number = math.nan
    if not abs(number) <= 1e18:
        raise ValueError(
            f"{cell!r:.60} in column {column['name']!r} is no {kind}. Correct it, or leave the cell empty."
        )
    return number


def _truth(cell: Any) -> float:
    return float({"true": True, "false": False}[cell.casefold()] if not isinstance(cell, bool) else cell)


def _days(cell: Any) -> float:
    if isinstance(cell, str) and "-" not in cell[1:]:
        raise ValueError("a date is written as 2024-03-01")
    when = datetime.datetime.fromisoformat(cell) if isinstance(cell, str) else cell
    if not isinstance(when, datetime.datetime):
        return float(when.toordinal() - datetime.date(1970, 1, 1).toordinal())
    return (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp() / 86400


_READINGS: Any = {"boolean": _truth, "number": float, "date": _days}


# Sound


def _sounds(how: dict[str, Any], records: Any, learnt: bool) -> dict[str, Any]:
    pieces: list[Any] = []
    owners: list[int] = []
    for i, record in enumerate(records):
        clip = _clip(how, record)
        parts = [_loudest(how, clip)] if learnt else _windows(how, clip)
        pieces, owners = pieces + parts, owners + [i] * len(parts)
    samples = np.zeros((len(pieces), how["samples"]), np.int16)
    for row, piece in zip(samples, pieces, strict=True):
        row[: len(piece)] = (piece * np.float32(32768)).round().clip(-32768, 32767)
    return {"samples": samples, "length": np.array([*map(len, pieces)], np.int32), "record": np.array(owners)}


def _clip(how: dict[str, Any], record: Any) -> Any:
    """One channel of float32 at the rate."""
    if isinstance(record, tuple):
        samples, rate = np.asarray(record[0]), record[1]
        samples = samples.astype(np.float32) / 32768 if samples.dtype == np.int16 else samples.astype(np.float32)
    else:
        import soundfile

        samples, rate = soundfile.read(str(record), dtype="float32", always_2d=True)
        samples = samples.mean(1)
    if rate != how["rate"]:
        import soxr

        samples = soxr.resample(samples, rate, how["rate"])
    peak = abs(samples).max()
    samples = samples / peak if peak > 1.01 else samples
    if how["trim"]:
        frame, hop = how["frame"], how["hop"]
        energy = np.concatenate([[0.0], np.square(samples - samples.mean(), dtype=np.float64).cumsum()])
        frames = (energy[frame:] - energy[:-frame])[::hop]
        loud = np.flatnonzero(frames >= frames.max() * 10 ** (-how["trim"] / 10))
        samples = samples[max(0, loud[0] - 2) * hop : (loud[-1] + 2) * hop + frame]
    return samples


def _loudest(how: dict[str, Any], samples: Any) -> Any:
    """The window with the most energy; of neighbours that hold as much, the middle one."""
    size = how["samples"]
    if len(_windows(how, samples)[0]) == len(samples):
        return samples
    energy = np.concatenate([[0.0], np.square(samples, dtype=np.float64).cumsum()])
    starts = np.arange(0, len(samples) - size + 1, how["hop"])
    inside = energy[starts + size] - energy[starts]
    best = int(inside.argmax())
    others = np.flatnonzero(inside < 0.99 * inside[best])
    first = max(others[others < best], default=-1) + 1
    last = min(others[others > best], default=len(starts)) - 1
    start = starts[(first + last) // 2]
    return samples[start : start + size]


def _windows(how: dict[str, Any], samples: Any) -> list[Any]:
    """What is asked about: windows half over the last, without silent ones."""
    size, last = how["samples"], len(samples) - how["samples"]
    if last <= 0:
        return [samples]
    if how["longer"] == "refuse":
        raise ValueError(f"A recording lasts longer than {size / how['rate']:g} s. Cut it where nobody speaks.")
    windows = [samples[start : start + size] for start in (*range(0, last, max(1, size // 2)), last)]
    energy = [float(np.square(one, dtype=np.float64).sum()) for one in windows]
    return [one for one, heard in zip(windows, energy, strict=True) if heard >= 1e-3 * max(energy)]


def main(words: list[str]) -> None:
    """Print an answer for each file, text, row, or step of a series."""
    if not words:
        raise SystemExit("usage: python read.py FILE …      (texts themselves; one CSV file of rows or of a series)")
    model = Model()
    kind = model.facts["reading"]["kind"]
    if kind in ("table", "series"):
        records: Any = Path(words[0])
        steps = int(words[1]) if kind == "series" and len(words) > 1 else 1
        answers = model.predict(records, steps)
        words = [f"{words[0]} {i + 1}" for i in range(len(answers))]
    else:
        records = [Path(one) if kind != "text" or one.endswith(".txt") else one for one in words]
        answers = model.predict(records)
    for word, answer in zip(words, answers, strict=True):
        plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in answer.items()}
        print(word, json.dumps(plain, ensure_ascii=False), sep="\t")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        raise SystemExit(str(error)) from error
