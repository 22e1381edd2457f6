"""Names, texts and tables in Chinese: on the screen, in files, and in charts."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from rich.cells import cell_len

import quickstudy as qs
from quickstudy.cli import main

SHAPES = {"圆形": "ellipse", "正方形": "rectangle"}


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of drawings whose classes and files have Chinese names, to work in the folder above."""
    monkeypatch.chdir(tmp_path)
    for name, kind in SHAPES.items():
        for number in (1, 2, 3):
            drawn = Image.new("L", (90, 90), 255)
            getattr(ImageDraw.Draw(drawn), kind)([12 + 3 * number, 12, 75, 80 - 2 * number], outline=0, width=4)
            Path("形状", name).mkdir(parents=True, exist_ok=True)
            drawn.save(Path("形状", name, f"第{number}张.png"))
    return Path("形状")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_from_a_folder_to_a_table_a_page_and_back(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", "handwriting", "--support", str(shapes), "--out", "我的模型"]) == 0
    assert set(qs.load("我的模型").names) == set(SHAPES)
    capsys.readouterr()
    assert main(["predict", "我的模型", str(shapes)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "第" in line]
    ends = {cell_len(line[: re.search(r"\s[圆正]\S+\s", line).start()]) for line in lines}  # type: ignore[union-attr]
    assert len(lines) == 6 and len(ends) == 1, "the second column begins in one place"

    written = ["--report", "得分.html", "--predictions", "答案.csv", "--out", "得分.json"]
    assert main(["score", "我的模型", str(shapes), *written]) == 0
    assert {row["label"] for row in rows(Path("答案.csv"))} == set(SHAPES)
    page = Path("得分.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("我的模型", *SHAPES)) and 'charset="utf-8"' in page


def test_a_table_begins_with_a_byte_order_mark_if_asked(shapes: Path) -> None:
    main(["adapt", "handwriting", "--support", str(shapes), "--out", "模型"])
    for out, more, first in (("甲.csv", [], b"file"), ("乙.csv", ["--bom"], b"\xef\xbb\xbffile")):
        assert main(["predict", "模型", str(shapes), "--out", out, *more]) == 0
        assert Path(out).read_bytes().startswith(first)
    assert rows(Path("甲.csv")) == rows(Path("乙.csv"))
    assert {row["class"] for row in rows(Path("乙.csv"))} == set(SHAPES)
    assert main(["score", "模型", str(shapes), "--predictions", "丙.csv", "--bom"]) == 0
    assert Path("丙.csv").read_bytes().startswith(b"\xef\xbb\xbffile")


def test_tables_of_excel_are_read_and_other_encodings_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cities = ("北京", "上海", "成都")
    lines = ["面积,城市,价格", *(f"{20 + 7 * i},{cities[i % 3]},{900 * i + 50}.5" for i in range(12))]
    Path("房价.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    model = qs.pretrained("tables").adapt("房价.csv", label="价格")
    assert model.predict([{"面积": 60, "城市": "上海"}]).values.shape[0] == 1
    Path("国标.csv").write_text("\n".join(lines), encoding="gb18030")
    assert main(["adapt", "tables", "--support", "国标.csv", "--target", "价格", "--out", "x"]) == 2
    assert "UTF-8" in capsys.readouterr().err


def test_classes_of_masks_may_have_chinese_names(tmp_path: Path) -> None:
    from quickstudy.formats.class_names import names_of_values

    path = tmp_path / "classes.txt"
    for between in (" ", ": ", ",", "：", "，", "\u3000"):
        path.write_text(f"0{between}background\n1{between}细胞质\n2{between}细胞核\n", encoding="utf-8-sig")
        assert names_of_values(path) == ((0, "background"), (1, "细胞质"), (2, "细胞核"))


def chart(labels: tuple[str, ...]) -> str:
    from quickstudy.pages.charts import Trace, line_chart

    traces = [Trace(label, [0, 1], [number, 1]) for number, label in enumerate(labels)]
    return line_chart(traces, labels[0], labels[-1])


@pytest.fixture(params=["no font", "fonts of this machine"])
def fonts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    charts = pytest.importorskip("quickstudy.pages.charts")
    pytest.importorskip("matplotlib")
    if request.param == "no font":
        monkeypatch.setattr(charts, "fonts", lambda: ["DejaVu Sans"])


@pytest.mark.usefixtures("fonts")
def test_text_of_charts_stays_text_for_the_fonts_of_whoever_reads_it() -> None:
    names = ("支持集", "查询集", "手写的字母")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = chart(names)
    assert all(f">{name}</text>" in drawn for name in names)
    families = set(re.findall(r"font-family: ([^;\"]+)|font: [\d.]+px ([^;\"]+)", drawn))
    assert {one or other for one, other in families} == {"system-ui, sans-serif"}


@pytest.mark.usefixtures("fonts")
def test_chinese_labels_of_a_legend_do_not_overlap() -> None:
    """Each character is as wide as the letters are high: the next label begins after that."""
    drawn = chart(("手写的字母" * 2, "三角形" * 2, "圆"))
    places = {}
    for x, y, label in re.findall(
        r'<text [^>]*?transform="translate\(([\d.]+) ([\d.]+)\)"[^>]*>([^<]+)</text>', drawn
    ) or re.findall(r'<text [^>]*?x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]+)</text>', drawn):
        places[label] = float(x), float(y)
    first, second, third = (places[label] for label in ("手写的字母" * 2, "三角形" * 2, "圆"))
    assert first[1] == second[1] == third[1]
    assert second[0] - first[0] > 10 * 9.5 and third[0] - second[0] > 6 * 9.5


def test_a_font_changes_nothing_of_charts_with_latin_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    charts = pytest.importorskip("quickstudy.pages.charts")
    pytest.importorskip("matplotlib")
    with_font = chart(("training", "validation"))
    monkeypatch.setattr(charts, "fonts", lambda: ["DejaVu Sans"])
    assert chart(("training", "validation")) == with_font
