from __future__ import annotations

import hashlib
import http.server
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import formats
from quickstudy.tasks import omniglot, omniglot_data, omniglot_splits
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.download import DownloadError, download
from quickstudy.testing import check_source

REAL = Path(os.environ.get("QUICKSTUDY_DATA", "/nowhere"), "omniglot")
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="set QUICKSTUDY_DATA to a folder with Omniglot in it")
SMALL = Sampling(ways=4, shots=2, queries=3)


def alphabets(source: ClassSource, split: str) -> set[str]:
    return {source.pool.name(int(c)).split("/")[0] for c in source.splits[split]}


def lake(root: Path, **options: object) -> ClassSource:
    source = omniglot(split="lake", root=str(root), **options)  # type: ignore[arg-type]
    assert isinstance(source, ClassSource)
    return source.sampled(SMALL)


def test_lake_holds_alphabets_apart(archives: Path) -> None:
    source = lake(archives, validation=("Hebrew",), within=True)
    assert alphabets(source, "train") == {"Early_Aramaic", "Greek", "Latin"}
    assert alphabets(source, "val") == {"Hebrew"}
    assert alphabets(source, "test") == {"Atlantean", "Tengwar"}
    assert alphabets(lake(archives, validation=("Hebrew",), evaluation="all"), "test") == {
        "Angelic",
        "Atlantean",
        "Tengwar",
    }
    check_source(source)
    for i in range(20):
        assert len({name.split("/")[0] for name in source.class_names("train", i)}) == 1


def test_an_empty_validation_trains_on_every_alphabet(archives: Path) -> None:
    source = lake(archives, validation=())
    assert alphabets(source, "train") == alphabets(source, "val") == {"Early_Aramaic", "Greek", "Hebrew", "Latin"}


def test_the_minimal_condition_trains_on_its_own_archive(archives: Path) -> None:
    source = omniglot(split="lake-minimal-1", root=str(archives))
    assert isinstance(source, ClassSource)
    assert alphabets(source, "train") == {"Greek"} and alphabets(source, "val") == {"Early_Aramaic"}


def test_pixels_are_ink_on_nothing_and_the_same_as_a_file_read_for_prediction(archives: Path) -> None:
    source = lake(archives, validation=("Hebrew",), size=20)
    x = source.pool.fetch(torch.tensor([0]), torch.tensor([0]))[0]
    with zipfile.ZipFile(archives / "images_background.zip") as archive, archive.open(archive.namelist()[0]) as file:
        assert source.spec.format == formats.make("image", size=20, channels=1, invert=True)
        assert torch.equal(x, source.spec.format.features(source.spec.format.store([file]).x)[0])
    assert x[0, 0, 0] == 0 and x.max() > 0.9


def test_the_decoded_images_are_cached_and_a_damaged_cache_is_replaced(archives: Path, own_cache: Path) -> None:
    first = omniglot_data.read_archive(archives / "images_evaluation.zip", 12)
    (cached,) = own_cache.rglob("images_evaluation-12-*.safetensors")
    made = cached.stat().st_mtime_ns
    again = omniglot_data.read_archive(archives / "images_evaluation.zip", 12)
    assert torch.equal(first.x, again.x) and cached.stat().st_mtime_ns == made
    cached.write_bytes(cached.read_bytes()[:100])
    assert torch.equal(first.x, omniglot_data.read_archive(archives / "images_evaluation.zip", 12).x)
    assert cached.stat().st_size > 100


def test_a_cache_that_cannot_be_written_stops_nothing(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(omniglot_data.read_archive(archives / "images_evaluation.zip", 10).x) == 108
    assert "Could not cache" in caplog.text


def test_turned_characters_are_classes_of_training_only_for_lake(archives: Path) -> None:
    source = lake(archives, validation=("Hebrew",), symmetries=4)
    assert source.symmetric_splits == ("train",)
    assert lake(archives, validation=("Hebrew",), symmetries=4, rotate_test=True).symmetric_splits == (
        "train",
        "val",
        "test",
    )
    check_source(source)
    plain = lake(archives, validation=("Hebrew",))
    same = [e.episodes("test", torch.arange(4)).support.x for e in (source, plain)]
    assert torch.equal(*same)


def test_augmentation_touches_training_only(archives: Path) -> None:
    plain, bent = lake(archives, validation=("Hebrew",)), lake(archives, validation=("Hebrew",), rotate=20.0)
    for split, touched in (("train", True), ("val", False), ("test", False)):
        one, other = (s.episodes(split, torch.arange(4)).query.x for s in (plain, bent))
        assert torch.equal(one, other) != touched


def test_glyphs_make_up_their_share_of_training_tasks(archives: Path) -> None:
    source = omniglot(split="lake", root=str(archives), validation=("Hebrew",), glyphs=0.3).sampled(SMALL)
    drawn = [source.class_names("train", i)[0].startswith("alphabet") for i in range(200)]
    assert 0.2 < sum(drawn) / 200 < 0.4
    check_source(source)
    assert not any(source.class_names(s, i)[0].startswith("alphabet") for s in ("val", "test") for i in range(20))
    real = lake(archives, validation=("Hebrew",)).episodes("train", torch.arange(8)).support.x
    mixed = source.episodes("train", torch.arange(8)).support.x
    assert [bool(torch.equal(a, b)) for a, b in zip(real, mixed, strict=True)] == [not d for d in drawn[:8]]


def test_wrong_options_and_archives_are_named(archives: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'vinyals'"):
        omniglot(split="vinyal", root=str(archives))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="called 'Klingon'"):
        lake(archives, validation=("Klingon",))
    with pytest.raises(ConfigError, match="trainval belongs to the split 'vinyals'"):
        lake(archives, trainval=True)
    with pytest.raises(ConfigError, match="validation belongs to"):
        omniglot(validation=("Latin",), root=str(archives))
    with pytest.raises(DataError, match="needs all 1623 characters of Omniglot, found 42"):
        omniglot(root=str(archives))
    with pytest.raises(DataError, match=r"no images_background\.zip in"):
        omniglot(root=str(tmp_path))
    (tmp_path / "images_background.zip").write_bytes((archives / "images_background.zip").read_bytes()[:5000])
    with pytest.raises(DataError, match="not a complete zip archive"):
        omniglot(root=str(tmp_path))


@pytest.fixture
def server(archives: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(archives))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/{{}}.zip"
        served.shutdown()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No data anywhere, an empty cache, no proxy."""
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "quickstudy" / "omniglot"


def test_archives_are_downloaded_checked_and_kept(
    server: str, elsewhere: Path, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(omniglot_data, "URL", server)
    names = ("images_background", "images_evaluation")
    digests = {n: hashlib.md5((archives / f"{n}.zip").read_bytes()).hexdigest() for n in names}
    monkeypatch.setattr(omniglot_data, "MD5", digests)
    assert not omniglot_data.omniglot_available()
    omniglot(split="lake", validation=("Hebrew",), size=8)
    assert omniglot_data.omniglot_available()
    assert (elsewhere / "images_background.zip").read_bytes() == (archives / "images_background.zip").read_bytes()


def test_a_wrong_checksum_keeps_nothing(server: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omniglot_data, "URL", server)
    with pytest.raises(DownloadError, match="expected 68d2efa1b9178cc56df9314c21c6e718"):
        omniglot(split="lake")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/{}.zip", "file:///nowhere/{}.zip"])
def test_no_network_is_one_line_that_says_what_to_do(
    url: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(omniglot_data, "URL", url)
    with pytest.raises(DownloadError) as caught:
        omniglot(split="lake")
    message = str(caught.value)
    assert "\n" not in message and "Connect to the network" in message and str(elsewhere) in message


def test_an_unwritable_place_is_an_error_too(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="Could not fetch"):
        download(server.format("images_evaluation"), tmp_path / "file" / "x.zip", "0")


def test_the_vinyals_split_is_the_first_1200_characters_in_order() -> None:
    names = [f"A{i // 40:02d}/character{i % 40 + 1:02d}" for i in range(1623)]
    names = [n.replace("A03/", "Hebrew/") for n in names]
    split = omniglot_splits.vinyals(names[:964], names[964:], trainval=False)
    assert split["test"] == names[1200:] and len(split["val"]) == 40
    assert set(split["train"]) | set(split["val"]) == set(names[:1200]) and not set(split["train"]) & set(split["val"])
    assert omniglot_splits.vinyals(names[:964], names[964:], trainval=True)["train"] == names[:1200]


@needs_real
def test_the_vinyals_split_is_the_published_one() -> None:
    for trainval, files in ((False, ("train", "val", "test")), (True, ("trainval", "val", "test"))):
        source = omniglot(trainval=trainval)
        assert isinstance(source, ClassSource)
        for split, file in zip(("train", "val", "test"), files, strict=True):
            published = (REAL / "splits" / "vinyals" / f"{file}.txt").read_text().split()
            assert {source.pool.name(int(c)) for c in source.splits[split]} == set(published)
            assert len(published) == {"train": 1028, "trainval": 1200, "val": 172, "test": 423}[file]
    assert (source.pool.counts == 20).all()


@needs_real
@pytest.mark.parametrize("split", ["vinyals", "lake", "lake-minimal-1", "lake-minimal-2"])
def test_the_real_data_conforms(split: str) -> None:
    source = omniglot(split=split, within=split != "vinyals", symmetries=4)  # type: ignore[arg-type]
    check_source(source.sampled(Sampling(ways=20, shots=1, queries=2)))
    if split != "vinyals":
        assert alphabets(source, "test") == set(omniglot_splits.OFFICIAL)  # type: ignore[arg-type]
