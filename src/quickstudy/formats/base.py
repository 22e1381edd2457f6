"""The contract of a format: how records become tensors, what a task teaches of them, and how they are shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from quickstudy.episode import Features, State, joined, leaves, named
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.distorting import Distorting
from quickstudy.formats.received import Most, numbers_of
from quickstudy.formats.records import Broken, Records, Stored
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.units import Units

if TYPE_CHECKING:
    from quickstudy.formats.maps_of_pixels import Pixels


class Format(Distorting):
    """How records of one kind become features. A frozen dataclass: its fields are its JSON; registered in `formats`.

    Records go through `store`, once, to compact tensors, and through `features`, on the device and for a batch at a
    time, to what networks take. What `store` is given may already be tensors: compact ones, or features.
    """

    place: ClassVar[str] = "file"
    """Where a record comes from, as a column of a table is called."""
    medium: ClassVar[str] = "numbers"
    """What a page asks for: 'image', 'sound', 'text', 'table', 'series' or 'numbers'."""
    row_files: ClassVar[tuple[str, ...]] = ()
    """Suffixes of files that hold many records each, where a split may be one of them."""
    labels_itself: ClassVar[bool] = False
    """Whether a record is its own labels, as the values of a series are."""
    rolls: ClassVar[bool] = False
    """Whether answers are fed back, each the next one's input, as forecasts of a series are."""
    white: ClassVar[float | None] = None
    """What white is, where features are pixels and black is 0."""

    # From records to features

    def find(self, place: str | Path | Sequence[str | Path], labelled: bool = True) -> Records:
        """The records at a place: files under a folder, lines of a file. labelled: with their labels.

        Raises DataError, naming the place, where there is nothing of this format.
        """
        raise ConfigError(f"Records of {self} cannot be read from files. Give them from Python, as tensors.")

    @property
    def pixels(self) -> Pixels:
        """What can be done with the labels of pixels; ConfigError where records have none."""
        raise ConfigError(f"Masks are of the pixels of images, and these are {self}. Choose tasks of images.")

    def given(self, words: Sequence[str]) -> Records:
        """The records that a user names in a command: places, or, where that can be, the records themselves."""
        return self.find(words, labelled=False)

    def learn(self, records: Any, broken: Broken = "refuse") -> Format:
        """This format with what the records of the training tasks teach it, such as a vocabulary, before any record is
        stored. No record of another split is among them."""
        return self

    def opened(self, records: Any) -> Format:
        """This format for one new task, with what must be known of its records before they are stored: what the columns
        of a table are, where training has not told. Itself for most."""
        return self

    def told(self, **columns: Any) -> Format:
        """This format with other columns to read: `label`, `group` and `text` by their names, and those to `exclude`,
        of which one may be given alone. Names of a data frame's columns need not be texts."""
        known = {field.name: field.default for field in fields(self)}  # type: ignore[arg-type]
        strange = [name for name in columns if name not in known]
        if strange:
            raise ConfigError(f"{self.what.capitalize()} have no {strange[0]} to be told. Leave it out.")
        given: dict[str, Any] = {}
        for name, one in columns.items():
            if isinstance(known[name], tuple):
                one = tuple(map(str, one if isinstance(one, list | tuple | set) else [one]))
            given[name] = str(one) if isinstance(known[name], str) else one
        return replace(self, **given) if given else self  # type: ignore[type-var]

    @property
    def cuts(self) -> str:
        """The option by which records that are too large are refused, where they are cut into parts that are asked
        about one by one; '' where they are not."""
        return ""

    @property
    def learns(self) -> bool:
        """Whether the records of training teach anything."""
        return type(self).learn is not Format.learn

    @abstractmethod
    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        """Records of the user's as compact tensors (n, …): items of `find`, or arrays in memory.

        Raises ShapeError or DataError, naming the record, for what is none of this format.
        """

    def together(self, stored: Features, further: Features) -> Features:
        """Compact tensors (n + m, …) of records that were stored apart: (n, …) and (m, …).

        ShapeError for those that are stored otherwise: of another size, or pixels beside features.
        """
        ours, theirs = named(stored), named(further)
        if ours.keys() != theirs.keys():
            raise ShapeError(f"The further {self.what} are stored as {list(theirs)}, those before as {list(ours)}.")
        for name, one in ours.items():
            other = theirs[name]
            if one.shape[1:] != other.shape[1:]:
                raise ShapeError(
                    f"The further {self.what} have the shape {tuple(other.shape[1:])}, but those before have "
                    f"{tuple(one.shape[1:])}. Give such as these."
                )
            if one.dtype != other.dtype:
                if self.prepares or one.shape[1:] != self.layout.get(name, next(iter(self.layout.values()))).shape:
                    raise ShapeError(
                        f"The further {self.what} are {other.dtype}, but those before were {one.dtype}. Give both as "
                        "files, or both as numbers."
                    )
                return joined(self.features(stored), self.features(further))
        return joined(stored, further)

    def raw(self, stored: Features, further: Any = None) -> Any:
        """Records that are stored so, and `further` ones after them, for `opened` to look at all of a task that grows;
        None where it learns nothing of them."""
        return None

    def sent(self, stored: Features) -> list[Any]:
        """The inverse of `received`, of compact tensors (n, …) whose records are no files: what JSON says of each."""
        return [self.named(stored)[next(iter(self.layout))][i].tolist() for i in range(len(leaves(stored)[0]))]

    def prolonged(self, stored: Features, records: Any) -> Features:
        """Of a record that is its own labels, as a series is: the compact tensors of all of it, where it went on."""
        raise ConfigError(f"{self.what.capitalize()} do not go on. Give further ones with their labels.")

    def query(self, records: Any, broken: Broken = "refuse") -> Stored:
        """Records that are asked about, as `ask` takes them: where they are not cut as those that are learned from."""
        return self.store(records, broken)

    def owners(self, stored: Features) -> Tensor | None:
        """Which record each of what `query` gave is a part of, (m,) int64; None where each is a record."""
        return None

    def received(self, record: Any, most: Most) -> Any:
        """A record that came over a network, as `store` takes several in a list: never a path.

        record: what JSON says, or an `Upload` of a file. Raises DataError for another kind, and for what is larger than
        `most`, before it is decoded.
        """
        return numbers_of(record, most)

    def prepare(self, stored: Features) -> State:
        """Constants of one task, learned from its support set, such as the scale of a series; empty for most."""
        return {}

    @property
    def prepares(self) -> bool:
        """Whether a task's support set teaches anything."""
        return type(self).prepare is not Format.prepare

    def units(self, fitted: State) -> Units | None:
        """The units that labels are in, if they are not the user's own: where the format has scaled labels, too."""
        return None

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        """What networks take, of compact tensors (*lead, …), on their device."""
        return stored

    def examples(self, stored: Features, labels: Any, fitted: State) -> tuple[Features, Any]:
        """The features and labels of a support set. A series is its own labels: `labels` is None then."""
        if labels is None:
            raise DataError(
                f"Learning from {self.what} needs a label for each. Give labels beside the records: run.adapt(records, "
                "labels)."
            )
        return self.features(stored, fitted), labels

    def of_names(self, names: Sequence[str], template: str = "{}") -> Any:
        """Records that the names of classes are, each put into the template; ConfigError where a name is no record."""
        raise ConfigError(
            f"{self.what.capitalize()} are told apart here, and the name of a class is no such: names are examples "
            "where records are texts. Give examples of each class."
        )

    def ask(
        self, predict: Callable[[Features], Distribution], stored: Features, fitted: State, **asked: Any
    ) -> Distribution:
        """What a learned task says of records. asked: what else the user may say, such as `steps` of a series."""
        if asked:
            raise ConfigError(
                f"Predicting from {self.what} takes no {', '.join(map(repr, asked))}. Leave it out: that is for other "
                "formats."
            )
        return predict(self.features(stored, fitted))

    def rolled(self, predict: Callable[[Features], Tensor], x: Features) -> Tensor:
        """What `ask` says of the queries x (n, …) of one task, in their order, (n, *shape), by `predict` of features;
        of forecasts, from the first of them alone."""
        return predict(x)

    def parted(self, stored: Features, **asked: Any) -> tuple[Features, Tensor, Tensor]:
        """Of records that are their own labels: what is seen of them; what follows, which `ask` is to say of it, in the
        user's units; and what one would say without having learned anything."""
        raise ConfigError(f"{self.what.capitalize()} are not their own labels. Give labels beside them.")

    def doubts(self, stored: Features, fitted: State) -> str:
        """What makes it doubtful that records are of the task that was learned, as a sentence; '' if nothing does."""
        return ""

    def answered(self, names: Sequence[str], **asked: Any) -> list[str]:
        """What each answer of `ask` is about, of records that are called `names`."""
        return list(names)

    # What fits

    def flat(self) -> nn.Module:
        """Of features (n, …) vectors (n, D), for networks to which it does not matter how numbers lie."""
        return nn.Flatten()

    def trial(self, count: int) -> Features:
        """Compact tensors of `count` made-up records: what a learned task can be tried on."""
        return self.store(self.nothing(count)).x

    def accepts(self, other: Format) -> bool:
        """Whether a network for this format may take records of another one, if it says that it can."""
        return self == other

    def brought(self, stored: Features, other: Format) -> Features:
        """Compact tensors (n, …) of another format as this one stores them, so that sources of both can be mixed.

        ConfigError where they cannot be.
        """
        if other != self:
            raise ConfigError(f"Records that are {other} cannot be made {self}. Choose one format for all of them.")
        return stored

    def fitting(self, stored: Features, records: Any = None) -> Format:
        """The format of these records, as they were given and stored: a table of fewer columns, for instance."""
        return self
