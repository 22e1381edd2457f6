"""Labelled records of the user's, as a model is measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quickstudy.deploy.partly import one_by_one
from quickstudy.errors import DataError
from quickstudy.formats.records import Broken, Records, say
from quickstudy.spec import TaskSpec
from quickstudy.targets.maps import LabelMaps


def records_at(spec: TaskSpec, place: str | Path) -> Records:
    """Labelled records at a place, for a model that is there already: a folder with a single sub-folder has those of
    one class, which is enough then."""
    folder = Path(place)
    inside = sorted(folder.iterdir()) if folder.is_dir() and spec.target.relabels and not spec.target.grid else []
    folders = [path for path in inside if path.is_dir() and not path.name.startswith(".")]
    if len(folders) != 1:
        return spec.find(place)
    one = spec.format.find(folders[0], labelled=False)
    return one._replace(labels=[folders[0].name] * len(one.items))


@dataclass(frozen=True)
class Labelled:
    """records: as the format takes them. labels: one for each, as the target takes them; None where records are their
    own."""

    records: Any
    labels: Any

    @classmethod
    def of(cls, spec: TaskSpec, records: Any, labels: Any = None, broken: Broken = "refuse") -> Labelled:
        """What was given to be measured on: records and labels, or a place that has both.

        Raises DataError where labels are missing, or are not as many as the records.
        """
        if labels is None and isinstance(records, str | Path):
            records, _, labels, _ = records_at(spec, records)
        if spec.format.labels_itself:
            if labels is not None:
                raise DataError(f"{spec.format.whole.capitalize()} are their own labels. Leave the labels out.")
            return cls(records, None)
        if labels is None:
            raise DataError(
                f"Measuring a model needs the true label of each of the {spec.format.what}. Give labels beside them."
            )
        if not spec.target.grid:
            labels = labels if _table(labels) else one_by_one(labels)
            if (count := _count(records)) is not None and count != len(labels):
                raise DataError(f"There are {count} {spec.format.what} but {len(labels)} labels. Give one for each.")
            return cls(records, labels)
        maps, kept, left_out = spec.format.pixels.maps(records, labels, broken)
        say([f"{len(left_out)} masks left out: {left_out[0]}"] if left_out else [])
        return cls(records if len(kept) == len(records) else [records[i] for i in kept], maps)

    def chosen(self, rows: Sequence[int]) -> Labelled:
        """The labels of some of them; all records, which are asked about anyway."""
        if isinstance(self.labels, LabelMaps):
            return replace(self, labels=self.labels.chosen(rows))
        return replace(self, labels=self.labels[list(rows)] if _table(self.labels) else [self.labels[i] for i in rows])


def _table(labels: Any) -> bool:
    """Whether labels are an array of several numbers each."""
    return len(getattr(labels, "shape", ())) > 1 and not hasattr(labels, "columns")


def _count(records: Any) -> int | None:
    """How many records there are, where that is known before they are read."""
    return len(records) if isinstance(records, Sequence) or hasattr(records, "shape") else None
