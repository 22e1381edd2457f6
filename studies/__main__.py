"""`python -m studies NAME …`: measure, and store under studies/results."""

from __future__ import annotations

import sys

from studies import (
    adaptshot,
    agents,
    averages,
    choosing,
    chosen,
    connected,
    encoders,
    experience,
    lines,
    many,
    masks,
    memory,
    nas,
    networks,
    optimizers,
    reading,
    recall,
    samples_run,
    scratch,
    selectors,
    sounds,
    tables,
    texts,
    unlabelled,
    warm,
    writers,
)

STUDIES = {
    "agents": agents.agents,
    "starts": memory.starts,
    "lifelong": memory.lifelong,
    "recall": recall.recall,
    "writers": writers.writers,
    "fedavg": averages.fedavg,
    "soup": averages.soup,
    "backends": averages.backends,
    "domains": averages.domains,
    "gp": reading.gp,
    "tables": reading.tables,
    "mixed": tables.mixed,
    "online": reading.online,
    "lines": lines.lines,
    "optimizers": optimizers.optimizers,
    "networks": networks.matrix,
    "encoders": encoders.encoding,
    "frozen": encoders.frozen,
    "texts": texts.texts,
    "scratch": scratch.scratch,
    "choosing": choosing.choosing,
    "unlabelled": unlabelled.unlabelled,
    "samples": samples_run.samples,
    "sounds": sounds.sounds,
    "selectors": selectors.select,
    "experience": experience.experience,
    "chosen": chosen.choose,
    "connected": connected.connected,
    "masks": masks.masks,
    "many": many.many,
    "warm": warm.search,
    "many-adapters": many.adapters,
    "many-scratch": many.scratch,
    "nas": nas.nas,
    "adaptshot": adaptshot.main,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or STUDIES:
        STUDIES[name]()
