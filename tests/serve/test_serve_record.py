"""What is told to a model is on the disk, whole, whatever happens to whoever writes it."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quickstudy.errors import CheckpointError
from quickstudy.serve.record import Event, events, holding, written
from quickstudy.serve.refusal import Refused
from quickstudy.serve.study import Study, adding, stacked

BEGIN = Event({"do": "begin", "start": "s", "print": "p", "name": "n", "made": ""})
ROUNDS = int(os.environ.get("QUICKSTUDY_KILLS", "50"))


def test_tensors_come_back_as_they_were() -> None:
    x = {
        "ids": torch.arange(6, dtype=torch.int16).view(2, 3),
        "mask": torch.tensor([[True], [False]]),
        "none": torch.zeros(2, 0),
    }
    event = Event({"do": "add", "text": "ü€"}, x)
    ((found, end),) = events(event.packed())
    assert found.facts == event.facts and end == len(event.packed())
    for name, one in x.items():
        assert found.tensors[name].dtype == one.dtype and torch.equal(found.tensors[name], one)


def test_a_file_that_was_cut_off_anywhere_holds_what_came_before() -> None:
    parts = [BEGIN, adding(["a", "b"], None, torch.zeros(2, 1, 4, 4, dtype=torch.uint8)), adding(["c"], ["ü"], None)]
    data = b"".join(part.packed() for part in parts)
    ends = [end for _, end in events(data)]
    for cut in range(len(data) + 1):
        assert len(list(events(data[:cut]))) == sum(end <= cut for end in ends)
    assert len(list(events(data + bytes(999)))) == 3  # what a loss of power leaves


def test_no_flipped_byte_goes_unseen() -> None:
    parts = [BEGIN, adding(["a", "b"], ["x", "y"], None), adding(["c"], ["z"], None)]
    data = b"".join(part.packed() for part in parts)
    last = len(data) - len(parts[-1].packed())
    for at in range(last):
        changed = bytearray(data)
        changed[at] ^= 0x41
        with pytest.raises(CheckpointError, match="damaged"):
            Study.of(bytes(changed))


def test_a_model_that_is_made_is_there_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.study"
    size = written(path, [BEGIN])
    assert path.stat().st_size == size and path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["m.study"]


def test_two_cannot_hold_one_file_and_a_deleted_one_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "m.study"
    written(path, [BEGIN])
    with holding(path) as file:
        assert file is not None
        with holding(path) as other:
            assert other is None
        file.remove()
    with pytest.raises(FileNotFoundError), holding(path):
        pass


def _event(study: Study, what: str, number: int) -> Event:
    if what == "add":
        return adding([f"c{number % 3}"] * (number + 1), [number] * (number + 1), None)
    if what == "forget":
        return study.forgetting([study.live[number % len(study.live)]] if study.live else ["none"])
    return study.without(f"c{number % 3}") if what == "class" else study.undoing()


@pytest.mark.parametrize("seed", range(20))
def test_undo_brings_back_what_was_there(seed: int) -> None:
    rng, data = random.Random(seed), BEGIN.packed()
    study = Study.of(data)
    seen: list[tuple[str, ...]] = [()]
    for _ in range(40):
        what, number = rng.choice(["add", "add", "forget", "class", "undo"]), rng.randrange(6)
        able = {
            "add": True,
            "forget": bool(study.live),
            "class": f"c{number % 3}" in study.names,
            "undo": len(seen) > 1,
        }
        if not able[what]:
            with pytest.raises(Refused):
                _event(study, what, number)
            continue
        event = _event(study, what, number)
        study, data = study.after(event), data + event.packed()
        seen = seen[:-1] if what == "undo" else [*seen, study.live]
        assert study.live == seen[-1] and len(study.past) == len(seen) - 1
    again = Study.of(data)
    assert (again.live, again.past, again.size) == (study.live, study.past, len(data))
    assert [(one.id, one.label) for one in again.examples] == [(one.id, one.label) for one in study.examples]


def test_examples_of_several_events_are_stacked_in_their_order() -> None:
    study = Study.of(BEGIN.packed())
    one, two = torch.arange(8.0).view(2, 4), torch.arange(8.0, 12.0).view(1, 4)
    study = study.after(adding(["a", "b"], None, one)).after(adding(["c"], None, two))
    assert torch.equal(stacked(study.examples), torch.cat([one, two]))
    left = study.after(study.forgetting([study.live[0]]))
    assert torch.equal(stacked(left.examples), torch.cat([one[1:], two]))


@pytest.mark.parametrize("writers", [1, 4])
def test_nothing_acknowledged_is_lost_by_kills(tmp_path: Path, writers: int) -> None:
    """Processes that add to one file are killed again and again, at any moment."""
    path, rng = tmp_path / "m.study", random.Random(writers)
    written(path, [BEGIN])
    told: set[str] = set()
    for _ in range(ROUNDS):
        read, write = os.pipe()
        children = [_writer(path, read, write) for _ in range(writers)]
        os.close(write)
        time.sleep(rng.uniform(0.001, 0.02))
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
        with os.fdopen(read, "rb") as said:
            told |= {line.decode() for line in said.read().split()}
        study = Study.of(path.read_bytes())
        assert told <= set(study.live)
    assert told


def _writer(path: Path, read: int, write: int) -> int:
    """A process that adds examples, and says of each that it is there, until it is killed."""
    if child := os.fork():
        return child
    try:
        os.close(read)
        study = Study.of(path.read_bytes())
        while True:
            with holding(path) as file:
                if file is None:
                    continue
                study = study.followed(file.read(study.size), study.size)
                event = adding(["a"], None, torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
                study = replace(study.after(event), size=file.add(event, study.size))
            os.write(write, f"{event.facts['ids'][0]}\n".encode())
    finally:
        sys.stderr.flush()
        os._exit(1)


def test_what_no_undoing_brings_back_is_not_held() -> None:
    data, study = BEGIN.packed(), Study.of(BEGIN.packed())
    for _ in range(200):
        for event in (lambda s: adding(["a"] * 3, ["x"] * 3, None), lambda s: s.without("a")):
            done = event(study)
            study, data = study.after(done).pruned(), data + done.packed()
    assert len(study.ever) < 50 * 3 and Study.of(data).ever == study.ever
    for _ in range(50):
        study = study.after(study.undoing())
        assert [one.raw for one in study.examples] == ["x"] * len(study.live)
