"""Four processes write to one bank at once, two of them are killed, round after round: is anything lost or broken?"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import torch

from quickstudy.memory import Bank, Entry
from quickstudy.memory.codec import encode
from studies.common import store

ROUNDS = 50


def task(seed: int) -> dict[str, torch.Tensor]:
    return {"w": torch.randn(64, 64, generator=torch.Generator().manual_seed(seed))}


def write(folder: str, writer: int, out: str) -> None:
    """Add entries for ever, and write down each once it is stored."""
    bank = Bank(folder)
    base = bank.phi.ids()[0]
    with open(out, "w", buffering=1) as file:
        for number in range(10**6):
            seed = writer * 10**6 + number
            entry = Entry(str(seed), "abc", base, "none", "float32", torch.full((8,), float(seed % 97)))
            print(bank.add([(entry, encode(task(seed), {}, "float32"), None)])[0], seed, file=file)


def writers() -> None:
    draw = random.Random(0)
    # A server that has loaded everything but the database, which must not be forked, starts writers at once.
    start = multiprocessing.get_context("forkserver")
    start.set_forkserver_preload(["quickstudy.memory", "pyarrow"])
    acknowledged = lost = broken = held = 0
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            Bank(f"{folder}/bank").phi.add("base", {"network.w": torch.zeros(1)}, {})
            outs = [Path(folder, str(i)) for i in range(4)]
            running = [start.Process(target=write, args=(f"{folder}/bank", i, str(out))) for i, out in enumerate(outs)]
            for process in running:
                process.start()
            while any(not (out.exists() and out.read_text()) for out in outs):
                if not all(process.is_alive() for process in running):
                    raise RuntimeError("A writer ended by itself: see its message above.")
                time.sleep(0.02)
            time.sleep(draw.uniform(0.2, 1.0))
            for process in running[:2]:
                process.kill()  # signal 9
            time.sleep(0.3)
            for process in running:
                process.kill()
                process.join()
            bank = Bank(f"{folder}/bank", create=False)
            broken += len(bank.check())
            there = {entry.id: entry for entry in bank.entries()}
            held += len(there)
            words = [line.split() for out in outs for line in out.read_text().splitlines()]
            told = [word[0] for word in words if len(word) == 2 and len(word[0]) == 32]  # a last line may be cut off
            acknowledged += len(told)
            for start_at in range(0, len(told), 256):
                whole, _ = bank.load_many(told[start_at : start_at + 256])
                for id in told[start_at : start_at + 256]:
                    lost += id not in whole or not torch.equal(whole[id]["w"], task(int(there[id].name))["w"])
        counts = {"acknowledged": acknowledged, "held": held, "lost": lost, "broken": broken}
        store("writers", {"rounds": number + 1, **counts})
