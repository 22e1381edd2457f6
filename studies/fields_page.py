"""The tables of docs/fields/*.md, and of docs/zh/fields/*.md, of stored results: `python -m studies.fields_page` writes
them between marks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.json import read_json
from studies.common import RESULTS
from studies.table import percent, table

_DOCS = Path(__file__).parent.parent / "docs"
PAGES, CHINESE = _DOCS / "fields", _DOCS / "zh" / "fields"
_MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n)(?:(?!<!--).)*(<!-- end of table -->)", re.S)


def _plain(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} ± {found['ci95']:.2f}"


def _stored(name: str) -> dict[str, Any]:
    return dict(read_json(RESULTS / f"{name}.json"))


def patients() -> str:
    found = _stored("fields-medicine")
    sizes = list(next(iter(found["rows"].values())))
    rows = [[name, *(percent(row[size]) for size in sizes)] for name, row in found["rows"].items()]
    return table(["right, in %", *(f"{size} patients known" for size in sizes)], rows)


def cells() -> str:
    columns = ("nucleus of blood cells", "blood cells")
    rows = _stored("masks")["rows"]
    return table(["IoU, in %", *columns], [[name, *(percent(row[c]) for c in columns)] for name, row in rows.items()])


def firms() -> str:
    found = _stored("fields-finance")["firms"]["rows"]
    return table(["", "mean error, in % of what is invested"], [[name, percent(row)] for name, row in found.items()])


def series() -> str:
    found = _stored("fields-finance")["series"]["rows"]
    rows = [[name, _plain(row), f"{row['median']:.2f}"] for name, row in found.items()]
    return table(["", "squared error, in variances of what was seen", "median"], rows)


def signs() -> str:
    return table(["", "right, in %"], [[name, percent(row)] for name, row in _stored("fields-traffic")["rows"].items()])


def encoders() -> str:
    heads = ("cosine prototypes", "ridge regression, λ = 0.1")
    untrained = {name: told for name, told in _stored("many")["rows"].items() if name.endswith("as they are")}
    rows = [
        [name, head, percent(told[head]["domains"]["traffic signs"])]
        for name, told in untrained.items()
        for head in heads
    ]
    return table(["encoder", "learner", "right, in %"], rows)


def highway() -> str:
    found = _stored("agents")["found"]["highway"]
    columns = ["return in episode 1", f"return in episode {found['episodes of a trial']}"]
    rows = [[who, *(_plain(row[c]) for c in columns)] for who, row in found["rows"].items() if who in (
        "trained", "its memory wiped", "acting at random")]  # fmt: skip
    far = {who: row for who, row in found["in highway-env"].items() if who in ("trained", "its memory wiped")}
    rows += [[f"in highway-env: {who}", *(_plain(row[c]) for c in columns)] for who, row in far.items()]
    return table(["", "first episode", "third episode"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "patients": patients, "cells": cells, "firms": firms, "series": series, "signs": signs, "encoders": encoders,
    "highway": highway,
}  # fmt: skip


# What cells say, as patterns, and how it is said in Chinese.
_SAID = {
    "right, in %": "正确率，%",
    r"(\d+) patients known": r"已知 \1 位病人",
    r"quickstudy, `(\w+)`": r"quickstudy，`\1`",
    "logistic regression": "逻辑回归",
    "random forest": "随机森林",
    "always the commoner class": "总答较常见的一类",
    "IoU, in %": "IoU，%",
    "nucleus of blood cells": "血细胞的细胞核",
    "blood cells": "血细胞",
    "colour prototypes": "颜色原型",
    r"SqueezeNet, prototypes \(PANet\)": "SqueezeNet，原型（PANet）",
    "SqueezeNet, regression of pixels": "SqueezeNet，像素回归",
    "SqueezeNet, logistic regression of pixels": "SqueezeNet，像素逻辑回归",
    "decoder, meta-trained": "解码器，元训练",
    "decoder and regression, weighed for each task": "解码器和回归，按任务加权",
    "mean error, in % of what is invested": "平均误差，占投资额的 %",
    "its mean so far": "它此前的均值",
    "its last year": "它的最后一年",
    "least squares, its ten years": "最小二乘，它的十年",
    "least squares, in logarithms": "最小二乘，取对数",
    "least squares, and all years of the others, in logarithms": "最小二乘，加上其他企业的所有年份，取对数",
    "quickstudy, its ten years": "quickstudy，它的十年",
    "quickstudy, and all years of the others, in logarithms": "quickstudy，加上其他企业的所有年份，取对数",
    "squared error, in variances of what was seen": "平方误差，以看过部分的方差为单位",
    "median": "中位数",
    "the mean of what was seen": "看过部分的均值",
    "the last value": "最后一个值",
    "pixels": "像素",
    "not trained": "未训练",
    "trained": "训练过",
    "encoder": "编码器",
    "learner": "学习器",
    r"(SqueezeNet 1\.0|MobileNetV3-small \(ONNX\)), as they are": r"\1，原样",
    "both, side by side, as they are": "两者并排，原样",
    "cosine prototypes": "余弦原型",
    r"ridge regression, λ = ([\d.]+)": r"岭回归，λ = \1",
    "first episode": "第一回合",
    "third episode": "第三回合",
    "its memory wiped": "清除记忆",
    "acting at random": "随机行动",
    "in highway-env: trained": "在 highway-env 里：训练过",
    "in highway-env: its memory wiped": "在 highway-env 里：清除记忆",
}


def _in_chinese(cell: str) -> str:
    if not re.search("[a-z]", cell):
        return cell
    for said, words in _SAID.items():
        if found := re.fullmatch(said, cell):
            return found.expand(words)
    raise KeyError(f"No Chinese for the cell {cell!r} of a table: add it to _SAID in {__file__}.")


def _chinese(made: str) -> str:
    lines = [[_in_chinese(cell) for cell in line[2:-2].split(" | ")] for line in made.splitlines()]
    return table(lines[0], lines[2:])


def filled(text: str, chinese: bool = False) -> str:
    """A page with its tables made anew."""

    def anew(mark: re.Match[str]) -> str:
        made = TABLES[mark[2]]()
        return f"{mark[1]}\n{_chinese(made) if chinese else made}\n{mark[3]}"

    return _MARKED.sub(anew, text)


def main() -> None:
    for folder in (PAGES, CHINESE):
        for page in sorted(folder.glob("*.md")):
            write_atomically(page, filled(page.read_text(), folder == CHINESE).encode())


if __name__ == "__main__":
    main()
