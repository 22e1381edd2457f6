"""Runs that are given on: in a folder and over a hub, the same answers; no folder of a machine, nothing pickled."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import hub_of

import quickstudy as qs
from quickstudy.errors import ConfigError, RunError
from quickstudy.runs import sharing
from quickstudy.shipped.places import CLASSES, folder_of

ROWS = torch.tensor([[0.0, 1.0], [0.1, 1.2], [3.0, -1.0], [3.2, -0.8]])


@pytest.fixture
def run() -> qs.Run:
    return qs.Run(folder_of(CLASSES), device="cpu")


def answer(run: qs.Run) -> torch.Tensor:
    model = run.adapt(ROWS.tolist(), ["a", "a", "b", "b"])
    return torch.as_tensor(model.predict(ROWS.tolist()).prediction)


def test_a_saved_run_answers_alike_and_carries_what_lies_beside(run: qs.Run, tmp_path: Path) -> None:
    first = run.save_pretrained(tmp_path / "a", summary="Mine.", licence="Apache-2.0")
    second = qs.from_hub(first, device="cpu").save_pretrained(tmp_path / "b")
    assert (second / "trust.json").read_text() == (run.folder / "trust.json").read_text()
    again = qs.Run(second, device="cpu")
    assert torch.equal(answer(run), answer(again))
    assert again.card is not None and again.card["summary"] == "Mine." and run.card is not None
    assert again.card["figures"] == run.card["figures"]
    assert "license: apache-2.0" in (second / "README.md").read_text()
    with pytest.raises(RunError, match="already holds a run"):
        run.save_pretrained(second)


def test_no_folder_of_this_machine_is_told(run: qs.Run, tmp_path: Path) -> None:
    folder = run.save_pretrained(tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    config["tasks"] = {"name": "folder", "options": {"root": str(tmp_path / "secret" / "photos")}}
    config["start"] = str(tmp_path / "secret" / "run")
    (folder / "config.json").write_text(json.dumps(config))
    given = qs.Run(folder, device="cpu").save_pretrained(tmp_path / "b")
    for path in given.iterdir():
        assert b"secret" not in path.read_bytes(), path
    assert qs.Run(given).config.tasks.options["root"] == "photos" and qs.Run(given).config.device == "auto"


def test_a_card_is_made_of_what_is_known(run: qs.Run, tmp_path: Path) -> None:
    folder = run.save_pretrained(tmp_path / "a")
    (folder / "card.json").unlink()
    bare = qs.Run(folder, device="cpu")
    assert bare.card is None
    card = qs.Run(bare.save_pretrained(tmp_path / "b", limits=["Small."])).card
    assert card is not None and card["limits"] == ["Small."] and card["licence"] == "" and card["data"] == []
    assert card["figures"][0]["mean"] == run.kept["validation"]
    page = (tmp_path / "b" / "README.md").read_text()
    assert "Licence of the weights: not said" in page and "- Small." in page and "license:" not in page
    with pytest.raises(ConfigError, match="says nothing of 'license'"):
        bare.save_pretrained(tmp_path / "c", license="MIT")


def test_put_on_a_hub_and_fetched_from_it(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    files: dict[str, bytes] = {}
    code = """
import sys, torch, quickstudy as qs
from quickstudy.shipped.places import folder_of
if sys.argv[1] == "push":
    print(qs.Run(folder_of("tables-classes"), device="cpu").push_to_hub("me/rows", token="hf_x", summary="Rows."))
else:
    run = qs.from_hub("me/rows", device="cpu")
    print(run.card["summary"], run.adapt([[0.0], [3.0]], ["a", "b"]).predict([[2.9]])[0])
"""

    def done(word: str, address: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1", "HF_HUB_ETAG_TIMEOUT": "3",
        }  # fmt: skip
        line = [sys.executable, "-c", code, word]
        return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)

    with hub_of("me/rows", files, models=True) as (address, asked):
        put = done("push", address)
        assert put.returncode == 0, put.stderr
        assert "me/rows/commit" in put.stdout
        assert sorted(files) == ["README.md", "card.json", "config.json", "model.safetensors", "trust.json"]
        files["evil.bin"] = pickle.dumps("never")
        got = done("fetch", address)
        assert got.returncode == 0, got.stderr
        assert "Rows." in got.stdout and "'b'" in got.stdout
        assert not any("evil" in line for line in asked)
    away = done("fetch", address)
    assert away.returncode == 0 and away.stdout == got.stdout, away.stderr
    refused = done("push", address)
    assert refused.returncode and "could not be put on the hub as me/rows" in refused.stderr


def test_what_is_not_ours_is_refused(run: qs.Run, tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    with pytest.raises(RunError, match=r"no run of quickstudy: it has no model.safetensors"):
        qs.from_hub(tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors").write_bytes((run.folder / "model.safetensors").read_bytes())
    with pytest.raises(RunError, match="Nothing of it was used"):
        qs.from_hub(tmp_path / "bert")
    folder = run.save_pretrained(tmp_path / "a")
    (folder / "model.safetensors").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(RunError, match="not a safetensors file"):
        qs.from_hub(folder)
    with pytest.raises(RunError, match="There is no folder"):
        qs.from_hub(tmp_path / "none")
    with pytest.raises(ConfigError, match="Write OWNER/NAME"):
        qs.from_hub("rows")
    with pytest.raises(ConfigError, match="Write OWNER/NAME"):
        run.push_to_hub("rows")
    with pytest.raises(ConfigError, match="has no revisions"):
        qs.from_hub(run.folder, revision="main")


def test_what_is_given_on_is_a_list() -> None:
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".ckpt")) for name in sharing.GIVEN)
