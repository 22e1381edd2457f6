"""Models that are there from the first minute: trained by recipes here, inside the package; and those of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quickstudy.errors import ConfigError, unknown_name
from quickstudy.runs.run import Run
from quickstudy.runs.sharing import fetched
from quickstudy.shipped.places import PHOTOS, TABLES, folder_of, names

__all__ = ["from_hub", "names", "pretrained"]


def pretrained(name: str, *, encoder: Any = None, device: str | None = None) -> Run:
    """A run that comes with the package, at once and without a network; `quickstudy list pretrained` shows them.

    'handwriting' takes drawings and tells classes apart. 'tables' takes rows; of numbers as labels it tells numbers, of
    all other labels classes, see `Tables.suited`; 'tables-classes' and 'tables-numbers' do one of both. 'photos' is not
    in the package: it stands on an encoder that others have trained.

    encoder: of 'photos' alone: a model of timm by its name, which is fetched once, a folder that timm has written, an
    .onnx file, or a part such as `models.part("squeezenet", weights=…)`. device: to use.

    >>> run = quickstudy.pretrained("tables")  # doctest: +SKIP
    >>> model = run.adapt("train.csv", label="price")  # doctest: +SKIP
    >>> model.predict("new.csv")  # doctest: +SKIP
    """
    if name == PHOTOS:
        from quickstudy.shipped.photos import photos

        return photos(encoder, device)
    if encoder is not None:
        raise ConfigError(f"An encoder is of {PHOTOS!r} alone, and {name!r} has its own network. Leave it out.")
    if name == TABLES:
        from quickstudy.shipped.tables import Tables

        return Tables(device)
    if name not in names():
        raise unknown_name("pretrained model", name, [*names(), PHOTOS])
    return Run(folder_of(name), device=device)


def from_hub(
    name: str | Path, *, revision: str | None = None, token: str | None = None, device: str | None = None
) -> Run:
    """The run that OWNER/NAME of the Hugging Face hub holds, as `Run.push_to_hub` put it there; or one in a folder.

    It is fetched where there is a connection, and else as it was when there last was one. Nothing is unpickled and no
    code of it is run. Extra 'hub', for names. revision: a branch, tag or commit. RunError where it cannot be had, or is
    no run of quickstudy.
    """
    return Run(fetched(str(name), revision, token), device=device)
