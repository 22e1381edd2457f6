"""Recordings in the page: the same samples as in Python; at another rate, as near as hearing needs it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from quickstudy.formats.audio import Audio
from tests.web.node_runs import needs_node, node

soundfile = pytest.importorskip("soundfile")

KINDS = [
    ("PCM_16", 1, 0.3), ("PCM_16", 2, 1.7), ("PCM_24", 1, 0.5), ("PCM_U8", 3, 0.9), ("FLOAT", 2, 2.2),
    ("DOUBLE", 1, 0.6),
]  # fmt: skip
READ = """
const { wavIn } = await lib("wav.js");
const { clipOf, loudest, segments, storedSamples } = await lib("sound.js");
const clips = given.files.map((file) => {
  const bytes = fs.readFileSync(file);
  const sound = wavIn(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength), file);
  return clipOf(sound, given.reading, file);
});
const { samples, hop } = given.reading;
const one = storedSamples(clips.map((clip) => loudest(clip, samples, hop)), samples);
const all = storedSamples(clips.flatMap((clip) => segments(clip, samples)), samples);
const plain = (stored) => [Array.from(stored.samples.data), Array.from(stored.length.data)];
return { support: plain(one), query: plain(all) };
"""


def noise(seconds: float, rate: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    loud = 0.05 + 0.6 * np.exp(-((time - 0.6 * seconds) ** 2) / 0.02)
    waves = [np.sin(2 * np.pi * 440 * time + seed) + 0.3 * draw.standard_normal(len(time)) for _ in range(channels)]
    return (np.stack(waves, 1) * loud[:, None] * 0.4).clip(-1, 1)


def reading(format: Audio) -> dict[str, object]:
    return {
        "rate": format.rate, "samples": format.samples, "frame": format.shortest, "hop": format.step,
        "trim": format.trim, "longer": format.longer,
    }  # fmt: skip


@needs_node
@pytest.mark.parametrize("trim", [0.0, 30.0])
def test_samples_of_files_are_those_of_python(trim: float, tmp_path: Path) -> None:
    format = Audio(rate=8000, seconds=0.5, trim=trim)
    files = []
    for i, (subtype, channels, seconds) in enumerate(KINDS):
        files.append(tmp_path / f"{i}.wav")
        soundfile.write(files[-1], noise(seconds, 8000, channels, i), 8000, subtype=subtype)
    found = node(tmp_path, READ, files=[file.name for file in files], reading=reading(format))
    for kind, stored in (("support", format.store(files).x), ("query", format.query(files).x)):
        assert found[kind][1] == stored["length"].tolist()
        apart = np.abs(np.array(found[kind][0]) - stored["samples"].flatten().numpy().astype(int))
        assert apart.max() == 0


@needs_node
@pytest.mark.parametrize("rate", [44100, 48000, 8000, 11025])
def test_another_rate_sounds_as_in_python(rate: int, tmp_path: Path) -> None:
    pytest.importorskip("soxr")
    format = Audio(rate=16000, seconds=1.0)
    file = tmp_path / "one.wav"
    time = np.arange(round(0.8 * rate)) / rate
    wave = sum(np.sin(2 * np.pi * f * time) for f in (110, 700, 2900)) * 0.2 * np.hanning(len(time))
    soundfile.write(file, wave, rate, subtype="FLOAT")
    found = node(tmp_path, READ, files=[file.name], reading=reading(format))["support"]
    stored = format.store([file]).x
    assert found[1] == stored["length"].tolist()
    apart = np.abs(np.array(found[0]) - stored["samples"].flatten().numpy().astype(int))
    assert apart.max() <= 3  # of 32768


@needs_node
def test_what_is_silent_or_cut_off_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    soundfile.write(tmp_path / "short.wav", noise(0.001, 8000), 8000)
    soundfile.write(tmp_path / "whole.wav", noise(1.0, 8000), 8000)
    whole = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "other.wav").write_bytes(b"RIFF" + struct.pack("<I", 4) + b"WAVE")
    codes = []
    for name in ("silent.wav", "short.wav", "cut.wav", "other.wav"):
        script = f"try {{ {READ} }} catch (error) {{ return error.code; }}"
        codes.append(node(tmp_path, script, files=[name], reading=reading(Audio(rate=8000))))
    assert codes == ["silent", "too_short", "unreadable", "unreadable"]
