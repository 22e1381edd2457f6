"""Files are written whole or not at all, with the user's permissions, and come back bit for bit."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import pytest
import torch
from small_runs import assert_same_bits, linear_run, newest
from torch import Tensor

from quickstudy.errors import CheckpointError, DataError, RunError
from quickstudy.files import writing
from quickstudy.runs.train import resume, train
from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.tensors import checksum, load_tensors, pack, save_tensors


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to let a file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def random_tensor(dtype: torch.dtype) -> Tensor:
    values = torch.randint(0, 2, (3, 5)) if dtype == torch.bool else torch.randint(0, 100, (3, 5))
    return values.to(dtype)


DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]  # fmt: skip


def test_every_dtype_and_shape_comes_back(tmp_path: Path) -> None:
    tensors = {str(dtype): random_tensor(dtype) for dtype in DTYPES}
    tensors |= {"number": torch.tensor(3.5), "empty": torch.empty(0, 4), "nan": torch.tensor([torch.nan, -torch.inf])}
    tensors |= {"strided": torch.arange(12.0).reshape(3, 4).T, "a part": torch.arange(9.0)[3:5]}
    meta = {"step": 3, "nested": {"list": [1, 2.5, None, "ψ"]}}
    save_tensors(tmp_path / "deep" / "er" / "file.safetensors", tensors, meta)
    found, facts = load_tensors(tmp_path / "deep" / "er" / "file.safetensors")
    assert facts == meta
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        assert torch.equal(found[name].nan_to_num(7.0), value.nan_to_num(7.0)), name


def test_tensors_that_share_memory_are_stored_apart(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    save_tensors(tmp_path / "file", {"whole": whole, "same": whole, "half": whole[:3]}, {})
    found, _ = load_tensors(tmp_path / "file")
    assert torch.equal(found["whole"], found["same"]) and torch.equal(found["half"], whole[:3])


def test_no_room_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_tensors(path, {"x": torch.arange(10.0)}, {"step": 1})
    with files_of_at_most(20_000), pytest.raises(RunError, match=r"Could not write .*file.safetensors.*intact"):
        save_tensors(path, {"x": torch.zeros(100_000)}, {"step": 2})
    tensors, meta = load_tensors(path)
    assert meta == {"step": 1} and torch.equal(tensors["x"], torch.arange(10.0))
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "the unfinished file was left lying about"


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """On a real disk of 64 KiB, mounted where only the child process sees it."""
    program = (
        "import torch; from pathlib import Path; from quickstudy.storage.tensors import *\n"
        f"path = Path({str(tmp_path)!r}, 'file')\n"
        "save_tensors(path, {'x': torch.arange(10.0)}, {})\n"
        "try:\n    save_tensors(path, {'x': torch.zeros(100_000)}, {})\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "print(load_tensors(path)[0]['x'].sum().item(), [p.name for p in path.parent.iterdir()])\n"
    )
    mount = f'mount -t tmpfs -o size=64k none {tmp_path} || exit 99; exec {sys.executable} -c "$0"'
    try:
        done = subprocess.run(
            ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, program], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare(1) here")
    if done.returncode in (1, 99) and "Traceback" not in done.stderr:
        pytest.skip(f"no disk of its own for a child process here: {done.stderr.strip()}")
    assert done.stdout.startswith(f"RunError Could not write {tmp_path}/file: {os.strerror(errno.ENOSPC)}.")
    assert done.stdout.endswith("45.0 ['file']\n")


def test_training_without_room_can_go_on_later(tmp_path: Path) -> None:
    config = linear_run(iterations=4, checkpoint_every=2, validate_every=2)
    train(config, out=tmp_path / "whole", quiet=True)
    run = train(config, out=tmp_path / "run", quiet=True)
    newest(run.folder).unlink()
    before = load_tensors(run.folder / "model.safetensors")[1]
    with files_of_at_most(100), pytest.raises(RunError, match="Could not write"):
        resume(run.folder, quiet=True)
    assert load_tensors(run.folder / "model.safetensors")[1] == before
    again = resume(run.folder, quiet=True)
    assert_same_bits(tmp_path / "whole", again.folder)
    assert [line["step"] for line in again.metrics] == [line["step"] for line in run.metrics]


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="Could not write"):
        write_json(tmp_path / "file" / "facts.json", {})
    locked = tmp_path / "locked"
    locked.mkdir()
    write_json(locked / "facts.json", {"old": 1})
    locked.chmod(0o500)
    try:
        if os.access(locked, os.W_OK):
            pytest.skip("permissions do not bind this user")
        with pytest.raises(RunError, match="Permission denied"):
            write_json(locked / "facts.json", {"new": 2})
    finally:
        locked.chmod(0o700)
    assert read_json(locked / "facts.json") == {"old": 1}


class _Meta(TypedDict):
    spec: dict[str, Any]
    step: int


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ([1], "is a list of 1, expected an object of names and values"),
        ({"step": 3}, "the whole lacks 'kind', a text"),
        ({"kind": ["run"]}, r"\['kind'\] is a list of 1, expected a text"),
        ({"kind": "adapted model"}, "of the kind 'adapted model', expected 'run'"),
        ({"kind": "run", "spec": {}}, "lacks 'step', a whole number"),
        ({"kind": "run", "spec": {}, "step": "3"}, r"\['step'\] is '3', expected a whole number"),
        ({"kind": "run", "spec": {}, "step": 10**40}, r"\['step'\] is a number of 34 hexadecimal digits"),
    ],
)
def test_metadata_that_lacks_what_is_needed_is_named(meta: Any, said: str, tmp_path: Path) -> None:
    save_tensors(tmp_path / "file", {"x": torch.zeros(3)}, meta)
    with pytest.raises(CheckpointError, match=said):
        load_tensors(tmp_path / "file", "run", _Meta)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "names no format"),
        ({"quickstudy_format": "²"}, "names no format"),
        ({"quickstudy_format": "9" * 5000}, "names no format"),
        ({"quickstudy_format": "99"}, "format 99, written by a newer quickstudy"),
        ({"quickstudy_format": "1"}, "does not match its checksum"),
        ({"quickstudy_format": "1", "meta": "{", "sha256": checksum("{")}, "is not valid JSON"),
    ],
)
def test_headers_of_others_are_refused(header: dict[str, str] | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(pack({}, header))
    with pytest.raises(CheckpointError, match=said):
        load_tensors(tmp_path / "file")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(mask: int, mode: int, tmp_path: Path) -> None:
    with umask(mask):
        write_atomically(tmp_path / "file", b"text")
        assert os.umask(mask) == mask, "writing must not change the umask"
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_json_that_is_not_there_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"There is no .*facts.json"):
        read_json(tmp_path / "facts.json")
    with pytest.raises(RunError, match=r"There is no"):
        load_tensors(tmp_path / "facts.safetensors")
    for content in (b"{", b"\xff\xfe", b""):
        (tmp_path / "facts.json").write_bytes(content)
        with pytest.raises(CheckpointError, match="not valid JSON"):
            read_json(tmp_path / "facts.json")


def test_what_killed_writers_left_is_removed_and_what_others_write_is_not(tmp_path: Path) -> None:
    path = tmp_path / "facts [1].json"
    dead = tmp_path / ".facts [1].json.0123456789abcdef"
    dead.write_text("{")
    others = [tmp_path / ".facts [1].json.notes", tmp_path / ".facts 1.json.0123456789abcdef"]
    for other in others:
        other.write_text("mine")
    with writing(path) as slow:
        slow.write(b"[1]")
        write_json(path, [2])
        assert read_json(path) == [2]
    assert read_json(path) == [1]
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_a_disk_that_is_full_before_the_first_checkpoint_costs_nothing(tmp_path: Path) -> None:
    config = linear_run(iterations=4, checkpoint_every=2, validate_every=4)
    train(config, out=tmp_path / "whole", quiet=True)
    largest = (tmp_path / "whole" / "config.json").stat().st_size
    with files_of_at_most(largest), pytest.raises(RunError, match=r"Free space .* then go on with --resume"):
        train(config, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "checkpoints").exists() or not list((tmp_path / "run" / "checkpoints").iterdir())
    resume(tmp_path / "run", quiet=True)
    assert_same_bits(tmp_path / "whole", tmp_path / "run")


def test_what_is_no_file_is_never_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(DataError, match="not a file"):
            write_json(tmp_path / name, {})
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "folder").is_dir() and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe"]
