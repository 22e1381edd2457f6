"""Meta-Dataset's files, made here by hand: framing, checksums, messages, splits, and what is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from record_files import FLAT, bitwise, domain, entry, field, framed, varint, written

from quickstudy.errors import DataError
from quickstudy.formats.tfrecord import crc32c, example, masked, records
from quickstudy.tasks import domains, tfrecords
from quickstudy.tasks.base import Sampling


def test_checksums_are_castagnolis() -> None:
    generator = np.random.default_rng(0)
    parts = [generator.bytes(n) for n in (0, 1, 2, 3, 4, 5, 8, 100, 33)]
    assert crc32c(parts) == [bitwise(part) for part in parts]
    assert crc32c([b"123456789"]) == [0xE3069283] and crc32c([]) == []
    assert masked(0) == 0xA282EAD8


def test_an_example_is_read_by_its_fields() -> None:
    read = example(written(b"pixels", -3), "it")
    assert read == {"image": [b"pixels"], "label": [-3]}
    unpacked = field(1, entry("label", field(3, varint(1 << 3) + varint(7) + varint(1 << 3) + varint(300))))
    assert example(unpacked, "it") == {"label": [7, 300]}
    for wrong in (b"\x0a\xff", b"\x08\x01", b"\x0f", b"\xff" * 12, field(1, field(1, field(2, b"")))):
        with pytest.raises(DataError, match="it is no tf.train.Example"):
            example(wrong, "it")


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    whole = framed(b"first") + framed(b"second record")
    path = tmp_path / "x"
    path.write_bytes(whole)
    assert records(path) == [b"first", b"second record"]
    for at in (3, 9, 14, 18, 40, len(whole) - 1):
        data = bytearray(whole)
        data[at] ^= 4
        path.write_bytes(bytes(data))
        with pytest.raises(DataError, match=rf"Record {int(at > 20)} of .* is damaged|cut short"):
            records(path)
    for length in (5, 20, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cut short"):
            records(path)


@pytest.mark.parametrize("shards", [False, True])
def test_a_domain_has_the_names_and_splits_that_its_description_says(tmp_path: Path, shards: bool) -> None:
    source = tfrecords(root=str(domain(tmp_path / "made", 11, FLAT, shards)), size=4)
    assert source.classes("train") == [f"kind {c}" for c in range(6)]
    assert source.classes("val") == ["kind 6", "kind 7"] and source.classes("test") == [f"kind {c}" for c in (8, 9, 10)]
    source = source.sampled(Sampling(2, 3, 3))
    for i in range(5):
        episode, names = source.episodes("test", torch.tensor([i])), source.class_names("test", i)
        assert isinstance(episode.support.x, torch.Tensor) and isinstance(episode.query.x, torch.Tensor)
        levels = (torch.cat([episode.support.x, episode.query.x], 1)[0] * 255).round().flatten(1)[:, 0].int()
        y = torch.cat([episode.support.y, episode.query.y], 1)[0]
        for c, name in enumerate(names):
            number = int(name.split()[1])
            assert sorted(levels[y == c].tolist()) == [10 * number + k for k in range(6)], "every record once"


def test_superclasses_are_groups(tmp_path: Path) -> None:
    spec = {
        "superclasses_per_split": {"TRAIN": 2, "VALID": 1, "TEST": 1}, "superclass_names": {"0": "Greek"},
        "classes_per_superclass": {"0": 3, "1": 2, "2": 3, "3": 3}, "class_names": {str(c): "α" for c in range(11)},
    }  # fmt: skip
    source = tfrecords(root=str(domain(tmp_path / "made", 11, spec)), size=4, within=True).sampled(Sampling(2, 1, 1))
    assert [len(source.classes(split)) for split in ("train", "val", "test")] == [5, 3, 3]
    for i in range(40):
        numbers = [int(name.split("(")[1][:-1]) for name in source.class_names("train", i)]
        assert len({number < 3 for number in numbers}) == 1
    with pytest.raises(DataError, match="no superclasses"):
        tfrecords(root=str(domain(tmp_path / "flat", 11, FLAT)), within=True)


def test_without_a_description_classes_are_split_at_random(tmp_path: Path) -> None:
    source = tfrecords(root=str(domain(tmp_path / "made", 11, None)), size=4)
    assert sorted(len(source.classes(split)) for split in ("train", "val", "test")) == [2, 2, 7]


def test_what_is_no_domain_is_refused(tmp_path: Path) -> None:
    lone = domain(tmp_path / "lone", 1, None)
    with pytest.raises(DataError, match="one class only"):
        tfrecords(root=str(lone))
    with pytest.raises(DataError, match="no folder"):
        tfrecords(root=str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="lacks the file of class 10"):
        tfrecords(root=str(domain(tmp_path / "short", 10, FLAT)))
    with pytest.raises(DataError, match="neither how many classes"):
        tfrecords(root=str(domain(tmp_path / "graph", 10, {"split_subgraphs": {}})))
    (lone / "1.tfrecords").write_bytes(framed(field(1, entry("label", field(3, field(1, varint(1)))))))
    with pytest.raises(DataError, match=r"Record 0 of .*1.tfrecords has no feature 'image'"):
        tfrecords(root=str(lone))
    (lone / "a.tfrecords").write_bytes(b"")
    with pytest.raises(DataError, match="not called after the number"):
        tfrecords(root=str(lone))


def test_it_is_a_domain_among_others(tmp_path: Path) -> None:
    domain(tmp_path / "one", 11, FLAT)
    domain(tmp_path / "two", 3, None)
    path = tmp_path / "all.json"
    path.write_text(json.dumps({n: {"tasks": "tfrecords", "root": n} for n in ("one", "two")}))
    source = domains(domains=(str(path),), held_out=("two",), options=("size", "4")).sampled(Sampling(2, 1, 2))
    assert list(source.parts("test")) == ["one", "two"] and len(source.members["two"].classes("test")) == 3
    source.check("test")
