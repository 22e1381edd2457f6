"""The sections of the page on texts and recordings."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

from studies.connected import TRAINED
from studies.table import percent, table
from studies.texts import FOLDS


def _over(rows: list[dict[str, Any]], how: str, figure: str) -> str:
    """Mean over folds, with the 95 % interval over folds (normal approximation)."""
    values = [100 * row[how][figure]["mean"] for row in rows]
    if len(values) == 1:
        return f"{values[0]:.1f} (one fold)"
    return f"{mean(values):.1f} ± {1.96 * stdev(values) / len(values) ** 0.5:.1f}"


def texts(found: dict[str, Any]) -> str:
    """A sentence encoder, frozen and meta-trained."""
    rows = [
        [
            f"{name}, {len(folds)} of {FOLDS} folds",
            how,
            _over(folds, how, "1-shot test"),
            _over(folds, how, "5-shot test"),
        ]
        for name, folds in found["rows"].items()
        if folds
        for how in ("frozen", "meta-trained")
    ]
    rates = " and ".join(f"{rate:g}" for rate in found["rates"])
    text = f"""## Intents of short texts

Published class-disjoint folds of two sets of questions to assistants (Dopierre et al. 2021), 5-way tasks with 5 queries
of each class. The encoder is all-MiniLM-L6-v2, by cosine to the mean of each class: as it is, and after up to
{found["steps"]} steps of meta-training on the fold's training classes, where validation classes choose the step and
the rate, {rates}. Its authors may have trained it on such questions.

"""
    return (
        text
        + table(["classes", "encoder", "1-shot, %", "5-shot, %"], rows)
        + f"\nEach fold over {found['episodes']} test tasks; the interval is over folds. Seed {found['seed']}.\n"
    )


def scratch(found: dict[str, Any]) -> str:
    """Without pretrained weights."""
    folds = found["rows"]
    rows = [[how, _over(folds, how, "1-shot"), _over(folds, how, "5-shot")] for how in ("tf-idf", "n-grams")]
    return (
        "## Intents without pretrained weights\n\n"
        "The folds of BANKING77 above, by the recipe `text` as it is: prototypes on n-grams of tokens that are nearly "
        "letters, meta-trained on a fold's training classes. Beside it the nearest mean by cosine on tf-idf of runs of "
        "two to five letters, whose weights are learned from the training classes' texts.\n\n"
        + table(["classes of BANKING77", "1-shot, %", "5-shot, %"], rows)
        + f"\nEach of {len(folds)} folds over {found['episodes']} test tasks; the interval is over folds. Seed "
        f"{found['seed']}.\n"
    )


_SOUNDS = {
    "words": "Lithuanian words, wake words and English digits; tests on 20 other English words",
    "digits": "the digits 0 to 4; tests on 5 to 9",
    "digits, other words too": "the digits 0 to 4, other English and Lithuanian words, and wake words; tests on the "
    "digits 5 to 9",
}


def sounds(found: dict[str, Any]) -> str:
    """Words that were never heard."""
    text = f"""## Spoken words

Words that were never heard, in 5-way tasks with {found["queries"]} queries of each word. No speaker is in both support
and query of a task; the four speakers of the digits are also those of the training digits. From scratch means the
recipe `audio` at 8 kHz, with the options that are named. The speech embedding is Google's, by the recipe
`audio-embedding`; it was trained on other data, and has probably heard these English words, digits among them: its
figures say little about words that are rare. Options were chosen on training recordings, by words that were held out of
them. The commit of each row stands in `studies/results/sounds.json`.
"""
    for name, models in found["rows"].items():
        rows = [
            [model, percent(row["1-shot"]), percent(row["5-shot"]), f"{row['seconds'] / 60:.0f} min"]
            for model, row in models.items()
        ]
        text += f"\nTrained on {_SOUNDS[name]}:\n\n" + table(["model", "1-shot, %", "5-shot, %", "time"], rows)
    return text + f"\nOver {found['episodes']} test tasks each, seed {found['seed']}.\n"


_CONNECTED = {"not adapted": "not adapted", "adapted": "plain steps", "trained": "meta-trained steps"}


def connected(found: dict[str, Any]) -> str:
    """What a few utterances of a new speaker are worth."""
    rows = [[name, *(percent(row[how]) for how in _CONNECTED)] for name, row in found["rows"].items()]
    means = [mean(row[how]["mean"] for row in found["rows"].values()) for how in _CONNECTED]
    rows.append(["mean", *(f"{100 * value:.1f}" for value in means)])
    return (
        "## Connected digits\n\n"
        "Utterances of two to five digits, joined of recordings of one speaker (Free Spoken Digit Dataset), and a "
        "network that writes them down. Two speakers are trained on, as they are and played faster and slower, one "
        f"chooses, and one was never heard: {found['shots']} utterances of theirs are learned from, others, of other "
        "recordings, are asked about. Errors in % of the digits said.\n\n"
        + table(["speaker", *_CONNECTED.values()], rows)
        + "\nPlain steps are gradient steps from one network for all voices, their rule, rate and number chosen on the "
        "third speaker. Meta-trained ones begin from that network, which is trained further by MAML, with a rate for "
        f"each tensor, for what {TRAINED} steps make of it.\n"
        + f"\nOver {found['episodes']} test tasks of {found['queries']} utterances each, seed {found['seed']}.\n"
    )
