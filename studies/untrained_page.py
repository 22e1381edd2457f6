"""The section of the page on what is known of cells before training."""

from __future__ import annotations

from typing import Any

from studies.table import table


def untrained(found: dict[str, Any]) -> str:
    rows = []
    for name, scores in found["found"].items():
        for score, one in scores.items():
            rank = one["spearman"]
            rows.append([name, score, f"{rank['mean']:.2f} ± {rank['ci95']:.2f}", f"{one['down']:,}"])
    return "\n".join(
        [
            "## Before training",
            "",
            f"What scores of untrained networks say of the {found['cells']:,} cells of NAS-Bench-201: rank correlation "
            f"with test accuracy in samples of {found['of']:,} cells (mean over {found['samples']} samples, 95 % "
            "interval), and how far down its ranking the first cell within 0.1 points of the best is. Each cell is "
            f"drawn once, in a network of {found['width']} filters with one cell in a stage, and sees "
            f"{found['examples']} images of {found['side']} × {found['side']} of noise; nothing was chosen.",
            "",
            table(["data", "score", "rank correlation", "the best is at"], rows),
        ]
    )
