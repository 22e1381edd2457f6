"""A bank on disk: what is stored comes back, whole or not at all, whoever writes and dies."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quickstudy.errors import CheckpointError, DataError, QuickstudyError, RunError
from quickstudy.memory import Bank, Codec, Entry
from quickstudy.memory.codec import decode, encode
from quickstudy.memory.health import export

D = 8


def vector(seed: int) -> torch.Tensor:
    return torch.randn(D, generator=torch.Generator().manual_seed(seed))


def entry(seed: int, base: str, **changes: object) -> Entry:
    made = Entry(f"task {seed}", "abc", base, "MemoryLearner", "float32", vector(seed), metrics={"accuracy": 0.5})
    return replace(made, **changes)  # type: ignore[arg-type]


def parameters(seed: int) -> dict[str, torch.Tensor]:
    return {"w": torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))}


def filled(path: Path, count: int = 5) -> tuple[Bank, list[str]]:
    bank = Bank(path)
    base = bank.phi.add("ba5e", {"network.w": torch.zeros(3, 4)}, {"body": ["w"]})
    return bank, bank.add([(entry(i, base), encode(parameters(i), {}, "float32"), None) for i in range(count)])


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    _, ids = filled(tmp_path)
    again = Bank(tmp_path, create=False)
    assert len(again) == 5 and [e.id for e in again.entries()] == ids
    for seed, id in enumerate(ids):
        assert torch.equal(again.load(id)["w"], parameters(seed)["w"])
    third = again.entries()[3]
    assert third.name == "task 3" and torch.equal(third.descriptor, vector(3)) and third.metrics == {"accuracy": 0.5}
    assert third.versions["torch"] == str(torch.__version__) and again.check() == {}


def test_recall_is_the_cosine(tmp_path: Path) -> None:
    bank, ids = filled(tmp_path, 50)
    asked = vector(1000)
    vectors = torch.stack([vector(i) for i in range(50)])
    cosines = torch.nn.functional.cosine_similarity(vectors, asked[None])
    best = cosines.topk(7)
    recalled = bank.recall(asked, 7)
    assert [e.id for e, _ in recalled] == [ids[i] for i in best.indices.tolist()]
    assert [near for _, near in recalled] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_only_what_fits_is_recalled(tmp_path: Path) -> None:
    bank, _ = filled(tmp_path)
    base = bank.phi.ids()[0]
    other = bank.add([(entry(9, base, signature="other"), encode(parameters(9), {}, "float32"), None)])
    assert [e.id for e, _ in bank.recall(vector(9), 3, signature="other")] == other
    assert len(bank.recall(vector(9), 10, signature="abc")) == 5
    with pytest.raises(DataError, match="None of the 6 entries .* fits the signature none"):
        bank.recall(vector(9), 3, signature="none")
    with pytest.raises(DataError, match="length 8, but this one has 5"):
        bank.recall(torch.zeros(5))


def test_an_empty_bank_says_so(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    assert len(bank) == 0 and bank.entries() == [] and bank.check() == {}
    with pytest.raises(DataError, match="is empty. Fill it"):
        bank.recall(vector(0))
    with pytest.raises(RunError, match="There is no bank at"):
        Bank(tmp_path / "nowhere", create=False)


def test_other_descriptors_and_nan_are_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    bank, _ = filled(tmp_path)
    base = bank.phi.ids()[0]
    good = (entry(6, base), encode(parameters(6), {}, "float32"), None)
    for bad in (torch.zeros(3), torch.full((D,), torch.nan)):
        with pytest.raises(DataError, match="lengths|NaN"):
            bank.add([good, (entry(7, base, descriptor=bad), encode(parameters(7), {}, "float32"), None)])
    assert len(bank) == 5


def test_a_damaged_entry_is_never_used(tmp_path: Path) -> None:
    bank, ids = filled(tmp_path)
    table = bank.tables.table("tasks")
    (row,) = table.search().where(f"id = '{ids[2]}'").to_list()
    better = json.dumps(json.loads(row["told"]) | {"metrics": {"accuracy": 1.0}})
    table.update(where=f"id = '{ids[2]}'", values={"told": better})
    with pytest.raises(CheckpointError, match="'task 2'.*does not match its checksum"):
        bank.load(ids[2])
    assert set(bank.check()) == {ids[2]}
    bank.remove(list(bank.check()))
    assert len(bank) == 4 and bank.check() == {}


def test_ids_that_are_not_hexadecimal_are_refused_when_they_are_added(tmp_path: Path) -> None:
    bank, _ = filled(tmp_path)
    for bad in ("../victim/model", "x", "", "A" * 32, "a" * 65, "ab\n"):
        with pytest.raises(DataError, match="hexadecimal digits"):
            entry(9, "ba5e", id=bad)
        with pytest.raises(DataError, match="hexadecimal digits"):
            bank.phi.add(bad, {"network.w": torch.zeros(1)}, {})
    with pytest.raises(DataError, match=r"found '\.\./phi'"):
        entry(9, "../phi")
    assert len(bank) == 5 and bank.phi.ids() == ["ba5e"]


def test_ids_that_others_wrote_into_a_bank_lead_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported files are called by ids: one that is a path would lead out of the folder."""
    bank, ids = filled(tmp_path / "bank", 2)
    with monkeypatch.context() as unchecked:
        unchecked.setattr("quickstudy.memory.entry.check_id", lambda id: id)
        unchecked.setattr("quickstudy.memory.bases.check_id", lambda id: id)
        bank.add([(entry(9, "ba5e", id="../victim"), encode(parameters(9), {}, "float32"), None)])
        bank.phi.add("x/../../elsewhere", {"network.w": torch.zeros(1)}, {})
    bank = Bank(tmp_path / "bank")
    wrong = bank.check()
    assert set(wrong) == {"../victim", "φ x/../../elsewhere"}
    assert all("hexadecimal digits" in text for text in wrong.values())
    assert [e.id for e in bank.entries()] == ids
    export(bank, tmp_path / "out" / "deep")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["deep"]
    assert {path.stem for path in (tmp_path / "out" / "deep").iterdir()} == {"phi-ba5e", *ids}
    assert "'../victim'" in caplog.text and "'x/../../elsewhere'" in caplog.text
    bank.remove(list(wrong))
    assert len(bank) == 2


def test_an_entry_deleted_between_search_and_load_is_named(tmp_path: Path) -> None:
    bank, _ = filled(tmp_path)
    recalled = bank.recall(vector(0), 1)
    Bank(tmp_path).remove([recalled[0][0].id])
    with pytest.raises(DataError, match=r"has no entry .* \(any more\)"):
        bank.load(recalled[0][0].id)
    assert len(bank.recall(vector(0), 10)) == 4  # and the bank sees what another process did


def test_a_bank_of_a_newer_version_says_so(tmp_path: Path) -> None:
    import lancedb
    import pyarrow as pa

    schema = pa.schema([pa.field("id", pa.string())], metadata={"quickstudy_format": "99"})
    lancedb.connect(str(tmp_path)).create_table("tasks", schema=schema)
    with pytest.raises(CheckpointError, match="format 99, written by a newer quickstudy"):
        Bank(tmp_path)


def test_tables_of_others_are_refused(tmp_path: Path) -> None:
    import lancedb

    lancedb.connect(str(tmp_path)).create_table("tasks", [{"id": "x"}])
    with pytest.raises(CheckpointError, match="quickstudy did not write"):
        Bank(tmp_path)


@pytest.mark.parametrize(("codec", "bound"), [("float32", 0.0), ("bfloat16", 4e-3), ("int8", 5e-3)])
def test_codecs_lose_no_more_than_they_say(codec: Codec, bound: float) -> None:
    base = parameters(0)
    task = {"w": base["w"] + 0.1 * parameters(1)["w"], "new": torch.linspace(-1, 1, 12)}
    data = encode(task, base, codec)
    back = decode(data, base, codec)
    for name, value in task.items():
        scale = float((value - base.get(name, torch.zeros(()))).abs().max()) if codec == "int8" else 1.0
        assert float((back[name] - value).abs().max()) <= bound * max(
            scale, float(value.abs().max()) * (codec != "int8")
        )
    large = {"w": torch.randn(100, 100)}
    sizes = {c: len(encode(large, {}, c)) for c in ("float32", "bfloat16", "int8")}  # type: ignore[arg-type]
    assert sizes["float32"] > 1.9 * sizes["bfloat16"] > 3.5 * sizes["int8"]


ADD = """
import resource, sys; sys.path[:0] = ["tests/memory"]
from test_bank import *
bank = Bank(sys.argv[1])
assert len(bank.recall(vector(0), 2)) == 2
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    bank.add([(entry(7, bank.phi.ids()[0]), encode({"w": torch.zeros(10_000)}, {}, "float32"), None)])
except RunError as error:
    print(error)
"""


@pytest.mark.parametrize("how", ["read-only", "full"])
def test_a_folder_that_cannot_be_written_is_an_error_and_nothing_is_lost(how: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bank, ids = filled(Path(folder) / "bank")
        command = [sys.executable, "-c", ADD, f"{folder}/bank", how]
        if how == "read-only":
            for path in Path(folder, "bank").rglob("*"):
                path.chmod(0o555 if path.is_dir() else 0o444)
            Path(folder, "bank").chmod(0o555)
            if os.geteuid() == 0:  # whom permissions do not stop
                drop = "-dac_override,-dac_read_search"
                command = ["setpriv", f"--inh-caps={drop}", f"--bounding-set={drop}", *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for path in [Path(folder, "bank"), *Path(folder, "bank").rglob("*")]:
            path.chmod(stat.S_IRWXU)
        assert "Could not write to the bank" in done.stdout and "before is intact" in done.stdout, done.stderr
        assert [e.id for e in bank.entries()] == ids and bank.check() == {}


def test_an_object_store_that_does_not_let_us_in_is_an_error() -> None:
    options = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region": "us-east-1", "allow_http": "true"}
    options |= {"endpoint": "http://127.0.0.1:9", "connect_timeout": "1s", "timeout": "2s", "client_max_retries": "0"}
    with pytest.raises(RunError, match="Could not .* the bank at s3://nobody/bank"):
        len(Bank("s3://nobody/bank", options))


WRITER = """
import sys; sys.path[:0] = ["tests/memory"]
from test_bank import *
bank, writer = Bank(sys.argv[1]), int(sys.argv[2])
base = bank.phi.ids()[0]
for number in range(10_000):
    seed = 1_000_000 * writer + number
    ids = bank.add([(entry(seed, base), encode(parameters(seed), {}, "float32"), None)])
    print(ids[0], seed, flush=True)
    time.sleep(0.05)
"""


def test_four_writers_two_of_them_killed_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    filled(tmp_path / "bank", 1)
    command = [sys.executable, "-c", WRITER, str(tmp_path / "bank")]
    outs = [tmp_path / f"out{i}" for i in range(4)]
    running = []
    for writer, out in enumerate(outs):
        with out.open("w") as file:
            running.append(subprocess.Popen([*command, str(writer)], stdout=file))
    try:
        deadline = time.monotonic() + 120
        while any(len(out.read_text().splitlines()) < 3 for out in outs):
            assert time.monotonic() < deadline and all(p.poll() is None for p in running)
            time.sleep(0.05)
        for process in running[:2]:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.5)
    finally:
        for process in running:
            process.kill()
            process.wait()
    bank = Bank(tmp_path / "bank", create=False)
    assert bank.check() == {}
    held = {e.id for e in bank.entries()}
    for out in outs:
        for line in out.read_text().splitlines():
            if line.count(" ") == 1 and line.split()[1].isdigit():
                id, seed = line.split()
                assert id in held and torch.equal(bank.load(id)["w"], parameters(int(seed))["w"])


def test_a_bank_whose_table_is_gone_is_not_an_empty_one(tmp_path: Path) -> None:
    filled(tmp_path / "bank")
    for path in (tmp_path / "bank" / "tasks.lance" / "_versions").iterdir():
        path.unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tasks.lance").write_text("x")
    for name in ("bank", "other"):
        with pytest.raises(RunError, match="no table of tasks that can be opened"):
            Bank(tmp_path / name, create=False)


def test_a_damaged_phi_is_found_and_removed(tmp_path: Path) -> None:
    bank, ids = filled(tmp_path)
    table = bank.tables.table("bases")
    table.update(where="id = 'ba5e'", values={"facts": "{}"})
    again = Bank(tmp_path, create=False)
    wrong = again.check()
    assert set(wrong) == {"φ ba5e"} and "does not match its checksum" in wrong["φ ba5e"]
    again.remove(list(wrong))
    assert again.check() == {} and again.phi.ids() == [] and [e.id for e in again.entries()] == ids


def test_every_error_is_one_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(QuickstudyError, match="Could not"):
        Bank(tmp_path / "file").phi.add("ba5e", {"w": torch.zeros(1)}, {})


def test_a_large_bank_is_searched_through_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quickstudy.memory import bank as module

    monkeypatch.setattr(module, "EXACT", 100)
    bank = Bank(tmp_path)
    base = bank.phi.add("ba5e", {"network.w": torch.zeros(1)}, {})
    data = encode({"w": torch.zeros(1)}, {}, "float32")
    ids = bank.add([(entry(i, base, signature="odd" if i % 2 else "even"), data, None) for i in range(600)])
    exact = bank.recall(vector(1000), 5, signature="odd")
    bank.index()
    assert bank.indexed
    calls: list[int] = []
    asked = module.ask_index
    monkeypatch.setattr(module, "ask_index", lambda *rest: calls.append(1) or asked(*rest))
    recalled = bank.recall(vector(1000), 5, signature="odd")
    assert calls and all(e.signature == "odd" for e, _ in recalled)
    assert len({e.id for e, _ in recalled} & {e.id for e, _ in exact}) >= 4
    near = bank.recall(vector(17), 1)[0]
    assert near[0].id == ids[17] and near[1] == pytest.approx(1.0, abs=1e-3)


def test_the_search_follows_what_is_added_and_removed(tmp_path: Path) -> None:
    bank, ids = filled(tmp_path, 20)
    assert bank.recall(vector(3), 1)[0][0].id == ids[3]
    other = Bank(tmp_path)
    new = other.add([(entry(99, "ba5e"), encode(parameters(99), {}, "float32"), None)])
    other.remove([ids[3]])
    assert bank.recall(vector(99), 1)[0][0].id == new[0]
    assert bank.recall(vector(3), 1)[0][0].id != ids[3] and len(bank.recall(vector(3), 50)) == 20
