"""`python -m studies NAME …`: measure, and store under studies/results."""

from __future__ import annotations

import sys

from studies import averages, memory, recall, writers

STUDIES = {
    "starts": memory.starts,
    "lifelong": memory.lifelong,
    "recall": recall.recall,
    "writers": writers.writers,
    "fedavg": averages.fedavg,
    "soup": averages.soup,
    "backends": averages.backends,
    "domains": averages.domains,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or STUDIES:
        STUDIES[name]()
