"""`python -m studies NAME …`: measure, and store under studies/results."""

from __future__ import annotations

import sys

from studies import (
    averages,
    encoders,
    lines,
    masks,
    memory,
    networks,
    optimizers,
    reading,
    recall,
    sounds,
    texts,
    writers,
)

STUDIES = {
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
    "online": reading.online,
    "lines": lines.lines,
    "optimizers": optimizers.optimizers,
    "networks": networks.matrix,
    "encoders": encoders.encoding,
    "frozen": encoders.frozen,
    "texts": texts.texts,
    "sounds": sounds.sounds,
    "masks": masks.masks,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or STUDIES:
        STUDIES[name]()
