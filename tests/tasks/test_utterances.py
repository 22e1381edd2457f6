"""Connected words: what is said is what the label says, recordings are apart, and speakers or words are new."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("soundfile")

from sounds import save, spoken, tone, transcribed

from quickstudy.errors import ConfigError, DataError
from quickstudy.formats import Audio
from quickstudy.registry import models, sources
from quickstudy.spec import TaskSpec
from quickstudy.targets import Transcript
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.spoken import Spoken
from quickstudy.testing import check_source

SMALL = Sampling(ways=1, shots=2, queries=3)
OPTIONS: dict[str, Any] = {
    "group": "(s[0-9]+)-", "rate": 8000, "seconds": 1.5, "word_seconds": 0.4, "mels": 16, "fewest": 1, "most": 3
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken(tmp_path_factory.mktemp("spoken"))


def source(root: Path, **options: Any) -> Any:
    return sources.make("utterances", root=str(root), **OPTIONS | options).sampled(SMALL)


@pytest.mark.parametrize("options", [{}, {"spelled": True}, {"spelled": True, "new": "words"}, {"voices": 0.2}])
def test_every_way_of_taking_words_keeps_the_contract(root: Path, options: dict[str, Any]) -> None:
    check_source(source(root, **options))


def constants(words: int, each: int, speakers: int = 1) -> Spoken:
    """Recordings that are one number each, so that it can be seen which of them were joined."""
    count = words * each * speakers
    samples = torch.arange(1, count + 1, dtype=torch.int16)[:, None].expand(-1, 12).contiguous()
    names = [f"w{i // each % words}" for i in range(count)]
    who = [f"s{i // (each * words)}" for i in range(count)]
    return Spoken.of(samples, torch.arange(count) % 5 + 8, names, who)


def joined(pool: Spoken, tasks: int = 20, factor: float = 1.0) -> tuple[Any, Tensor, Tensor, Tensor, Tensor]:
    keys, asked = torch.arange(tasks) * 977, torch.arange(6) >= 3
    who = keys % len(pool.speakers)
    drawn = pool.draw(keys, who, (pool.counts >= 2)[who], asked, 4)
    return drawn, *pool.join(drawn, torch.full((tasks,), factor), 2, (1, 3), 60), who


def test_utterances_are_the_recordings_that_the_labels_name_with_pauses_between() -> None:
    pool = constants(words=3, each=5, speakers=2)
    drawn, samples, length, said, who = joined(pool)
    assert set(said.flatten().tolist()) <= {1, 2, 3, 4} and len(said.unique()) > 1
    for t in range(len(who)):
        for u in range(6):
            heard: list[tuple[int, int]] = []  # number, and for how many samples
            for value in samples[t, u, : length[t, u]].tolist():
                if heard and heard[-1][0] == value:
                    heard[-1] = (value, heard[-1][1] + 1)
                else:
                    heard.append((value, 1))
            pauses, words = [n for v, n in heard if v == 0], [v for v, _ in heard if v]
            items = drawn.item[t, u, : said[t, u]]
            assert words == [int(pool.samples[pool.starts[i]]) for i in items]
            assert [n for v, n in heard if v] == pool.lengths[items].tolist()
            assert len(pauses) == len(words) - 1 and all(1 <= n <= 3 for n in pauses)
            assert not samples[t, u, length[t, u] :].any()
            cell = pool.first[who[t], drawn.word[t, u, : said[t, u]]]
            assert bool(((items >= cell) & (items < cell + 5)).all())


def test_no_recording_is_in_both_support_and_query_and_all_are_in_some() -> None:
    pool = constants(words=2, each=5)
    drawn, *_ = joined(pool, tasks=200)
    support, query = drawn.item[:, :3].flatten(1).tolist(), drawn.item[:, 3:].flatten(1).tolist()
    assert all(not set(one) & set(other) for one, other in zip(support, query, strict=True))
    assert len({i for one in support for i in one}) == len({i for one in query for i in one}) == 10


def test_faster_voices_make_shorter_and_higher_words() -> None:
    wave = (1000 * torch.sin(2 * torch.pi * torch.arange(400) / 20)).to(torch.int16)
    pool = Spoken.of(wave.expand(4, -1), torch.full((4,), 400), ["a"] * 4, ["s"] * 4)
    drawn = pool.draw(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), torch.ones(1, 1) > 0,
                      torch.tensor([False, True]), 1)  # fmt: skip
    samples, length, _ = pool.join(drawn, torch.tensor([1.25]), 1, (0, 0), 500)
    assert length.tolist() == [[320, 320]]
    spectrum = torch.fft.rfft(samples[0, 0, :320].float()).abs()
    assert int(spectrum.argmax()) == 320 // 16  # a period of 20 samples has become one of 16


def test_spelled_texts_have_spaces_between_words_only(root: Path) -> None:
    one = source(root, spelled=True)
    episode = one.episodes("train", torch.arange(30))
    told = one.spec.target.told(episode.query.y.flatten(0, 1), ())
    assert {word for text in told for word in text.split(" ")} == {"la", "mi", "so"}
    assert {len(text.split(" ")) for text in told} == {1, 2, 3}


def test_new_words_are_those_that_training_never_says(root: Path) -> None:
    one = source(root, spelled=True, new="words")
    said = {}
    for split in ("train", "val", "test"):
        texts = one.spec.target.told(one.episodes(split, torch.arange(20)).support.y.flatten(0, 1), ())
        said[split] = {word for text in texts for word in text.split()}
        assert said[split] == set(one.classes(split))
    assert not said["train"] & said["test"] and not said["val"] & said["test"]


def test_a_file_names_the_speakers_of_each_split(root: Path, tmp_path: Path) -> None:
    named = {"train": ["s0", "s1", "s2"], "val": ["s3"], "test": ["s4"]}
    (tmp_path / "splits.json").write_text(json.dumps(named))
    one = source(root, splits=str(tmp_path / "splits.json"))
    assert {split: one.classes(split) for split in named} == named


def test_only_training_is_distorted(root: Path) -> None:
    loud = source(root, noise=0.5, voices=0.3)
    quiet = loud.plain()
    index = torch.arange(2)
    assert torch.equal(loud.episodes("test", index).query.x, quiet.episodes("test", index).query.x)
    assert not torch.equal(loud.episodes("train", index).query.x, quiet.episodes("train", index).query.x)
    assert torch.equal(loud.episodes("train", index).query.y, quiet.episodes("train", index).query.y)


@pytest.mark.parametrize(
    ("options", "error", "what"),
    [
        ({"new": "words"}, ConfigError, "only be written where texts are spelled"),
        ({"new": "voices"}, ConfigError, "is 'voices', expected 'speakers' or 'words'"),
        ({"most": 3, "stride": 60}, ConfigError, "may need 5 positions, and 1.5 s with stride=60 have 3"),
        ({"fewest": 4}, ConfigError, "fewest=4 must be at most most=3"),
        ({"word_seconds": 2.0}, ConfigError, "must fit into seconds=1.5"),
        ({"group": "(nobody)"}, DataError, "says of .* not who speaks"),
        ({"val": 0.5, "test": 0.6}, DataError, "cannot be split"),
    ],
)
def test_what_cannot_be_is_refused(root: Path, options: dict[str, Any], error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        source(root, **options)


def test_a_speaker_without_two_recordings_of_a_word_is_refused(tmp_path: Path) -> None:
    for word in ("la", "mi"):
        for s in range(4):
            for i in range(1 if s == 3 else 2):
                save(tmp_path / word / f"s{s}-{i}.wav", tone(300.0, 0.2, seed=i))
    one = source(tmp_path)
    split = next(split for split in ("train", "val", "test") if "s3" in one.classes(split))
    with pytest.raises(DataError, match="'s3' of the split .* has no word with two recordings"):
        one.episodes(split, torch.arange(1))


# Recordings with transcripts


def test_transcripts_keep_the_contract(tmp_path: Path) -> None:
    one = sources.make("transcripts", path=str(transcribed(tmp_path)), rate=8000, seconds=1.0, mels=16)
    check_source(one.sampled(SMALL))
    assert set("".join(one.spec.target.tokens)) == set("lamiso ") and one.spec.target.longest == 8
    whole = sources.make("transcripts", path=str(tmp_path / "said.csv"), rate=8000, seconds=1.0, mels=16, words=True)
    assert set(whole.spec.target.tokens) == {"la", "mi", "so"}


def test_rows_say_what_is_wrong_with_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, options = transcribed(tmp_path), {"rate": 8000, "seconds": 1.0, "mels": 16}
    made = lambda **more: sources.make("transcripts", path=str(path), **options | more)  # noqa: E731
    whole = made()
    with pytest.raises(DataError, match="no column 'who'; its first line names \\['file', 'text', 'speaker'\\]"):
        made(speaker="who")
    with pytest.raises(DataError, match=r"lasts 0.75 s, and the window is 0.5 s"):
        made(seconds=0.5)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "s0/none.wav,la,s0", *lines[3:]]))
    with pytest.raises(DataError, match=r"line 4: there is no file 's0/none.wav'"):
        made()
    with caplog.at_level("WARNING", "quickstudy"):
        assert torch.equal(made(broken="skip").x["samples"], whole.x["samples"])
    assert "1 recordings left out" in caplog.text and "line 4: there is no file 's0/none.wav'" in caplog.text
    path.write_text("\n".join([*lines[:3], "s0/1.wav,,s0", *lines[3:]]))
    with pytest.raises(DataError, match="line 4: the label is missing"):
        made()
    with pytest.raises(ConfigError, match="is no file of rows"):
        sources.make("transcripts", path=str(tmp_path))


def test_rows_that_name_one_recording_or_nobody_who_speaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = transcribed(tmp_path)
    made = lambda: sources.make("transcripts", path=str(path), rate=8000, seconds=1.0, mels=16)  # noqa: E731
    lines, whole = path.read_text().splitlines(), made()
    path.write_text("\n".join([*lines, lines[1], lines[2].replace("s0/1", "./s0/../s0/1")]))
    with caplog.at_level("WARNING", "quickstudy"):
        assert torch.equal(made().x["samples"], whole.x["samples"])
    assert "2 rows left out, which name a recording again, the first in" in caplog.text and "line 42" in caplog.text
    path.write_text("\n".join([*lines, "s0/0.wav,so so so,s0"]))
    with pytest.raises(
        DataError, match=r"line 42 says of .*0\.wav that it is so so so, s0, but .*line 2 that it is la"
    ):
        made()
    path.write_text("\n".join([*lines[:-1], lines[-1].removesuffix("s4")]))
    with pytest.raises(DataError, match=r"s4/7\.wav: nothing says which task it belongs to"):
        made()
    save(tmp_path / "copy.wav", tone(300.0, 0.2, seed=1))
    save(tmp_path / "s0" / "0.wav", tone(300.0, 0.2, seed=1))
    path.write_text("\n".join([*lines, "copy.wav,la,s0"]))
    with caplog.at_level("WARNING", "quickstudy"):
        made()
    assert "1 recordings are equal to another that may be in the same task" in caplog.text
    path.write_text("\n".join([*lines[:-1], lines[-1].replace(",s4", " " + "la" * 60 + ",s4")]))
    with pytest.raises(DataError, match=r"of .*s4/7\.wav has \d+ tokens, and \d+ are the most"):
        made()


def test_a_run_keeps_what_its_outputs_stand_for(tmp_path: Path, root: Path) -> None:
    """Other texts, in which another letter is the commonest, name a network's outputs as before, or are refused."""
    path, options = transcribed(tmp_path), {"rate": 8000, "seconds": 1.0, "mels": 16}
    before = sources.part("transcripts", path=str(path), **options).settled()
    text = path.read_text()
    path.write_text(text.replace("la", "m").replace("mi", "ss"))
    assert before.build().spec.target.tokens == before.options["tokens"] != before.options["tokens"][::-1]
    assert sources.make("transcripts", path=str(path), **options).spec.target.tokens != before.options["tokens"]
    path.write_text(text.replace("la,s4", "la!,s4"))
    with pytest.raises(DataError, match=r"of .*s4/.*wav holds '!', which is none of the 7 characters"):
        before.build()
    heard = sources.part("utterances", root=str(root), **OPTIONS).settled()
    assert heard.options["tokens"] == ("la", "mi", "so")
    more = spoken(tmp_path / "more", words=("do", "la", "mi", "so"))
    with pytest.raises(DataError, match="The folder 'do' of .* holds 'do', which is none of the 3 tokens"):
        replace(heard, options=heard.options | {"root": str(more)}).build()


def test_words_are_written_in_nfc_and_are_single_ones(tmp_path: Path) -> None:
    made = source(spoken(tmp_path / "marks", words=("la", "gru\u0308n")), spelled=True)
    assert "\u00fc" in made.spec.target.tokens and "\u0308" not in made.spec.target.tokens
    assert (made.spec.format.label, made.spec.format.group) == ("text", "speaker")  # of the rows that are adapted to
    several = spoken(tmp_path / "several", words=("la", "lights on"))
    with pytest.raises(DataError, match=r"'lights on' has a space .* Rename it \('lights-on'\), or spell"):
        source(several)
    assert " " in source(several, spelled=True).spec.target.tokens


def test_recordings_that_are_cut_have_no_text_as_a_whole() -> None:
    with pytest.raises(ConfigError, match="longer recordings would be cut into parts, .* the option 'longer refuse'"):
        TaskSpec(Audio(), Transcript(tokens=("a",), longest=3))


# The network


@pytest.mark.parametrize("by", range(1, 9))
def test_the_transcriber_has_the_positions_it_is_asked_for(by: int) -> None:
    format = Audio(rate=8000, seconds=1.3, mels=16, longer="refuse")
    frames = format.layout["x"].shape[-1]
    target = Transcript(tokens=("a", "b"), longest=3, positions=-(-frames // by))
    spec = TaskSpec(format, target)
    made = models["transcriber"](spec, width=16, blocks=1)
    assert made(torch.randn(2, *spec.input_shape)).shape == (2, *target.prediction_shape)
    assert models["transcriber"](spec, head=False, width=16, blocks=1)(torch.randn(2, *spec.input_shape)).shape == (
        2,
        16,
    )


def test_what_is_heard_late_is_said_late() -> None:
    """A change of the last frames changes the last positions, and not the first."""
    spec = TaskSpec(
        Audio(rate=8000, seconds=4.0, mels=16, longer="refuse"), Transcript(tokens=("a",), longest=3, positions=100)
    )
    made = models["transcriber"](spec, width=16, blocks=2, norm_layer="none").eval()
    x = torch.randn(1, *spec.input_shape)
    other = x.clone()
    other[..., -40:] += 1
    moved = (made(x) - made(other)).abs().sum(-1)[0] > 1e-6
    assert bool(moved[-8:].all()) and not bool(moved[:70].any())


def test_other_targets_and_positions_are_refused_with_those_that_fit() -> None:
    spec = TaskSpec(
        Audio(rate=8000, seconds=1.0, mels=16, longer="refuse"), Transcript(tokens=("a",), longest=3, positions=61)
    )
    with pytest.raises(ConfigError, match="Choose positions among 98, 49, 33"):
        models["transcriber"](spec)
    from quickstudy.registry import targets

    with pytest.raises(ConfigError, match="Use --model speech"):
        models["transcriber"](replace(spec, target=targets.make("classes", ways=3)))
