"""Tasks from records of any format and with any target: files by class, rows of a CSV file, or what is registered."""

from __future__ import annotations

from pathlib import Path

from quickstudy.errors import ConfigError, DataError
from quickstudy.formats.base import Format
from quickstudy.formats.records import Broken, say
from quickstudy.formats.rows import read_rows
from quickstudy.options import pairs
from quickstudy.registry import formats, sources, targets
from quickstudy.targets.base import Target
from quickstudy.tasks.base import Source
from quickstudy.tasks.divide import split_classes
from quickstudy.tasks.folder import class_folders_source
from quickstudy.tasks.groups import Rule
from quickstudy.tasks.stored import read, say_doubles
from quickstudy.tasks.tables import dataset_source


@sources.register("records", data="records of any format", places=("root",))
def records(
    *,
    root: str,
    format: str = "image",
    options: tuple[str, ...] = (),
    target: str = "classes",
    target_options: tuple[str, ...] = (),
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    broken: Broken = "refuse",
    min_class: int = 0,
    group: str = "",
    groups: Rule = "apart",
) -> Source:
    """Your own records, of any registered format, with any registered target.

    With classes, the classes are split; with other targets every task is one data set, named by the records' groups.

    root: where the records lie: a folder with a sub-folder for each class, or a file, as the format has it.
    format: its name; see `quickstudy list formats`. options: its own, names and values in turn, such as size 28.
    target: its name; see `quickstudy list targets`. target_options: its own, names and values in turn.
    val, test: shares of the classes, or data sets, that are held out, at random by `split_seed`.
    split_seed: which these are.
    broken: whether a record that cannot be read stops everything ('refuse') or is left out ('skip').
    min_class, group, groups: of classes; see the tasks 'folder'.
    """
    seen: Format = formats.make(format, **pairs("--tasks.options", options))
    asked: Target = targets.make(target, **pairs("--tasks.target-options", target_options))
    if asked.relabels:
        return class_folders_source(
            seen, root, val, test, split_seed, broken, target=asked, min_class=min_class, group=group, groups=groups
        )
    return of_groups(seen, asked, root, val, test, split_seed, broken)


@sources.register("table_csv", data="a file of rows, such as CSV", places=("path",))
def table_csv(
    *,
    path: str,
    label: str = "label",
    group: str = "",
    exclude: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    groups: Rule = "apart",
    min_class: int = 0,
    target: str = "classes",
    units: str = "",
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
) -> Source:
    """Your own tables: rows of numbers, categories and gaps, with a label in each.

    path: a file of rows (CSV, TSV, JSON Lines, Parquet) with named columns; or a folder of them, one task each.
    label: the column that holds what is to be told. group: the column that says which task a row belongs to, where
        labels are numbers; where they are classes, what rows belong to, such as a patient.
    exclude: columns to leave out. categories: columns whose cells are names of things though they look like numbers.
    groups: of classes: whether no group is in both support and query of a task ('apart'), or each task is of one group
        ('within').
    min_class: classes with fewer rows are left out, which is said.
    target: 'classes' or 'numbers'. units: of numbers, for reports.
    val, test: shares of the classes, or tasks, that are held out, at random by `split_seed`.
    split_seed: which these are.

    Raises DataError, naming file and line, for labels that are missing, and for cells of another kind than the other
    cells of their column.
    """
    asked: Target = targets.make(target, **({"units": units} if units else {}))
    seen: Format = formats.make("table", label=label, group=group, exclude=exclude, categories=categories)
    if not asked.relabels and not group and not Path(path).is_dir():
        raise ConfigError(
            f"Tasks of {asked} are the rows of one machine, customer, assay, …: name the column that says which row "
            "belongs to which task (--tasks.group), or give a folder with a file for each."
        )
    if group and not Path(path).is_dir():
        read_rows(path).column(group, "--tasks.group")
    if asked.relabels:
        return class_folders_source(
            seen, path, val, test, split_seed, "refuse", target=asked, min_class=min_class, groups=groups
        )
    return of_groups(seen, asked, path, val, test, split_seed, "refuse")


def of_groups(
    format: Format, target: Target, root: str, val: float, test: float, split_seed: int, broken: Broken
) -> Source:
    """One data set for each group of the records at `root`."""
    rows = format.find(root)
    if rows.groups is None or rows.labels is None:
        raise ConfigError(
            f"Tasks of {target} need to know which records belong to one task, and the records at {root} do not say. "
            "Name the column that does (--tasks.group), or give the data from Python: quickstudy.tasks.tables."
        )
    if "" in rows.groups:
        nobody = rows.names[rows.groups.index("")]
        raise DataError(
            f"{nobody}: nothing says which task it belongs to, since that cell is empty. Fill it or drop the row."
        )
    target = target.learn(rows.labels)
    if format.learns:
        names = list(dict.fromkeys(rows.groups))
        training = {
            names[i] for i in split_classes(len(names), val, test, split_seed, least=1, what="tasks")["train"].tolist()
        }
        seen = [item for item, group in zip(rows.items, rows.groups, strict=True) if group in training]
        format = format.learn(seen, broken)
    stored, found = read(format, rows, broken)
    say(stored.notices)
    kept = rows.chosen(stored.kept)
    y, _ = target.encode(kept.placed)
    groups = list(kept.groups or ())
    if all(isinstance(item, Path) for item in kept.items):
        say_doubles(found, groups, kept.names, format.what)
    if gone := sorted(set(rows.groups) - set(groups)):
        raise DataError(f"The task {gone[0]!r} of {root} holds no readable {format.what}. Remove it.")
    return dataset_source(format.fitting(stored.x, rows.items), target, stored.x, y, groups, val, test, split_seed)
