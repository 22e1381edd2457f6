"""`quickstudy memory build|list|show|search|adapt|prune|export|check`: a memory of solved tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tyro.extras import subcommand_cli_from_dict

from quickstudy.cli import own
from quickstudy.cli.memory_options import Adapt, Build, Check, Export, Index, List, Prune, Search, Show
from quickstudy.cli.parse import learned, next_line, next_predict, open_run, support_set, table
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Records
from quickstudy.memory import Bank, Memory
from quickstudy.memory.health import export, merge, prune, usefulness
from quickstudy.memory.runs import adapted, memory_of_bank, memory_of_run, search
from quickstudy.storage.folders import refuse_occupied, refuse_replacing
from quickstudy.tasks.base import Sampling
from quickstudy.terminal import tell
from quickstudy.training.progress import Progress


def run(argv: Sequence[str]) -> int:
    calls: dict[type, Callable[[Any], int | None]] = {
        Build: _build, List: _list, Show: _show, Search: _search, Adapt: _adapt, Prune: _prune, Index: _index,
        Export: _export, Check: _check,
    }  # fmt: skip
    options = subcommand_cli_from_dict(
        {kind.__name__.lower(): kind for kind in calls},
        prog="quickstudy memory",
        description="Remember solved tasks, and start new ones from the nearest.",
        args=list(argv),
    )
    return calls[type(options)](options) or 0


def _build(options: Build) -> None:
    done = open_run(options.run, options.device, options.tasks)
    memory = memory_of_run(
        done, Bank(options.bank), codec=options.codec, keep=options.keep, steps=options.steps,
        untrained=options.untrained, recall=options.recall, nearest=options.nearest, describe=options.describe,
    )  # fmt: skip
    source = done.parts.source
    if options.shots is not None:
        source = done.sampled(Sampling(done.config.ways, options.shots, done.config.queries))[0]
    with Progress(f"Remembering {options.split} tasks", options.count) as progress:
        solved = memory.build(
            source, options.count, split=options.split, first=options.first, start=options.start,
            progress=lambda count, one: progress.update(count, str(one)[:60]),
        )  # fmt: skip
    metric = source.spec.target.metric
    values = torch.tensor([one.metrics[metric.name] for one in solved])
    mean, several = float(values.mean()), len(values) > 1
    told = metric.interval(mean, 1.96 * float(values.std()) / len(values) ** 0.5) if several else metric.number(mean)
    tell(
        f"Remembered {len(solved)} tasks in {options.bank}, which now holds {len(memory.bank)}; mean {metric.label} "
        f"{told}."
    )
    tell(next_line("memory show", options.bank))


def _list(options: List) -> None:
    entries = Bank(options.bank, create=False).entries()
    used = usefulness(entries)
    rows = [
        [e.name, e.id[:8], e.created[:19].replace("T", " "), ", ".join(f"{k} {v:.3f}" for k, v in e.metrics.items()),
         str(len(e.parents)), f"{used[e.id]:.1f}", f"{e.size / 1e3:.0f} kB"]
        for e in entries[-options.last :]
    ]  # fmt: skip
    columns = ["task", "id", "learned (UTC)", "figures", "parents", "used by", "size"]
    table(f"{options.bank}: {len(entries)} tasks", columns, rows)


def _show(options: Show) -> None:
    from quickstudy.memory.map import write_map

    refuse_replacing(options.out)
    tell(f"Wrote {write_map(Bank(options.bank, create=False), options.out)}")


def _asked(options: Adapt | Search) -> tuple[Memory, Records]:
    """The memory of a bank, and the support set of the new task."""
    memory = memory_of_bank(Bank(options.bank, create=False), device=options.device, module=own.module())
    return memory, support_set(memory.learner.spec, options.support, options.task)


def _search(options: Search) -> None:
    nearest = search(*_asked(options), options.nearest)
    rows = [
        [entry.name, f"{near:.3f}", ", ".join(f"{k} {v:.3f}" for k, v in entry.metrics.items())]
        for entry, near in nearest
    ]
    table(f"Nearest to {options.support}", ["task", "closeness", "figures"], rows)


def _adapt(options: Adapt) -> None:
    refuse_occupied(options.out)
    place = options.support.resolve()
    name = options.name or options.task or place.name
    memory, records = _asked(options)
    solved, model = adapted(
        memory, records, remember=options.remember, name=name, uri=str(place), even_if_worse=options.even_if_worse
    )
    model.save(options.out)
    tell(f"{learned(model)}; {solved}: {options.out}")
    if solved.id:
        tell(f"Remembered as {name!r} ({solved.id[:8]}).")
    tell(next_predict(model, options.out, options.support, options.task))


def _prune(options: Prune) -> None:
    bank = Bank(options.bank, create=False)
    if options.merge is not None and not options.dry:
        tell(f"Merging saved {merge(bank, options.merge)} entries.")
    if options.count is not None or options.megabytes is not None:
        size = None if options.megabytes is None else int(options.megabytes * 1e6)
        forgotten = prune(bank, count=options.count, size=size, dry=options.dry)
        names = ", ".join(entry.name for entry in forgotten[:10]) + (", …" if len(forgotten) > 10 else "")
        tell(
            f"{'Would forget' if options.dry else 'Forgot'} {len(forgotten)} entries" + (f": {names}" if names else "")
        )
    elif options.merge is None:
        raise ConfigError("Say what to prune to: --count, --megabytes or --merge.")
    tell(f"{options.bank} holds {len(bank)} tasks.")


def _index(options: Index) -> None:
    Bank(options.bank, create=False).index()
    tell(f"{options.bank} has an index.")


def _export(options: Export) -> None:
    tell(f"Wrote {export(Bank(options.bank, create=False), options.out)}")


def _check(options: Check) -> int:
    bank = Bank(options.bank, create=False)
    wrong = bank.check()
    tell(*wrong.values())
    if options.remove:
        bank.remove(list(wrong))
    tell(f"{len(bank)} entries, {len(wrong)} damaged" + (", removed." if wrong and options.remove else "."))
    return 0 if not wrong or options.remove else 2
