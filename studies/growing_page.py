"""Models that grow, on the page of the studies: its section."""

from __future__ import annotations

from typing import Any

from studies.table import percent, table


def growing(found: dict[str, Any]) -> str:
    text = f"""## Models that grow

A model that is [adapted](growing.md) to two classes and then given the others one at a time, beside one that is adapted
to all classes at once: accuracy in % on the same queries, in test tasks that neither training nor validation has seen,
and the largest difference of a probability in any of them. By *sums*: models that have not kept their examples, of
learners in closed form. By *examples*: models that have, and are adapted anew each time. Networks were trained for
{found["steps"]} steps, seed {found["seed"]}: what is compared is the two ways, not the learners. All is in float32.

"""
    columns = ["source", "learner", "tasks", "grows by", "tasks measured", "at once", "one at a time", "difference",
               "probabilities differ by at most"]  # fmt: skip
    return text + table(columns, [
        [
            row["source"], f"`{row['learner']}`", f"{row['ways']}-way {row['shots']}-shot",
            "examples" if row["kept"] else "sums", f"{row['difference']['count']:,}", percent(row["at once"]),
            percent(row["grown"]), f"{100 * row['difference']['mean']:+.2f} ± {100 * row['difference']['ci95']:.2f}",
            f"{row['apart']:.0e}",
        ] for row in found["rows"].values()
    ])  # fmt: skip
