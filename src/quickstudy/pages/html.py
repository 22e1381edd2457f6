"""The page around the sections: structure and looks. Everything is in the one file; nothing is loaded."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

_CSS = """
:root{color-scheme:light dark;--paper:#fff;--card:#f6f7f9;--ink:#1b1f24;--muted:#626a75;--line:#dfe3e8;--accent:#2369a8;
--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1d2126;--ink:#e9ecef;--muted:#a0a8b2;--line:#343a42;
--accent:#6cb2f0;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:800px;margin:0 auto;padding:40px 20px 72px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.015em;margin:0 0 6px;overflow-wrap:anywhere}
h2{font-size:20px;line-height:1.3;letter-spacing:-.005em;margin:52px 0 6px}
p{margin:0 0 14px;max-width:66ch}
.eyebrow{color:var(--muted);font-size:13px;letter-spacing:.06em;text-transform:uppercase;margin:0 0 8px}
.lead{font-size:17px;color:var(--muted)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin:22px 0}
.tile{background:var(--card);border-radius:12px;padding:14px 18px}
.tile.main{background:color-mix(in srgb,var(--accent) 13%,var(--paper))}
.tile .what{color:var(--muted);font-size:13.5px}
.tile .value{font-size:27px;font-weight:650;letter-spacing:-.02em;line-height:1.3;font-variant-numeric:tabular-nums}
.tile .value small{font-size:15px;font-weight:500;letter-spacing:0;color:var(--muted);white-space:nowrap}
.badge{display:inline-block;border:1.5px solid var(--bad);color:var(--bad);border-radius:999px;padding:1px 12px;
font-size:13.5px;font-weight:600;margin:0 0 12px}
.warning{border-left:4px solid var(--bad);background:color-mix(in srgb,var(--bad) 9%,var(--paper));
border-radius:4px 12px 12px 4px;padding:12px 18px;margin:4px 0 22px;font-size:15px;overflow-wrap:anywhere}
.warning b{display:block;color:var(--bad)}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;font-size:14px;margin:18px 0 0}
dl.facts dt{color:var(--muted)}dl.facts dd{margin:0;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:20px 24px;margin-top:18px}
.charts figure{margin:0;min-width:0;max-width:460px}.charts svg{display:block;width:100%;height:auto;overflow:visible}
.charts.wide{grid-template-columns:1fr}.charts.wide figure{max-width:none}
figcaption,.note{font-size:14px;color:var(--muted)}
figcaption b{color:var(--ink);font-weight:600}
.tasks{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:18px;margin-top:18px}
.task{background:var(--card);border-radius:12px;padding:14px 16px;min-width:0}
.task h3,.charts h3{font-size:14.5px;margin:0 0 10px;font-weight:600;display:flex;
justify-content:space-between;gap:12px}
.task h3 span,.charts h3 span{color:var(--muted);font-weight:500;white-space:nowrap}
.row{display:grid;grid-template-columns:auto 1fr;gap:12px;align-items:start;padding:9px 0 12px}
.row+.row{border-top:1px solid var(--line)}
.given,.asked{display:flex;flex-wrap:wrap;gap:9px 6px}.given{max-width:148px;align-items:center}
.given>i{font-style:normal;font-weight:650;font-size:13px;width:18px;color:var(--muted)}
.px{display:block;width:100%;image-rendering:pixelated;background:#fff;border-radius:2px}
.film{display:block;max-width:100%;border:1px solid var(--line);border-radius:8px;background:#fff}
.spark{display:block;width:52px;height:24px;fill:none;stroke:currentColor;stroke-width:1.6;stroke-linejoin:round}
.spark circle{fill:currentColor;stroke:none}
.cells{display:inline-flex;flex-wrap:wrap;gap:2px 8px;font-size:13px;font-variant-numeric:tabular-nums}
.cells span{min-width:4.3em;text-align:right}
.cells i{display:block;font-style:normal;font-size:11px;color:var(--muted);overflow-wrap:anywhere}
.text{font-size:14px;overflow-wrap:anywhere}
.frame{position:relative;display:block;border:3px solid var(--class);border-radius:6px;overflow:hidden}
.frame .px{width:34px}.given .frame .px{width:40px}
.frame.wrong{border-style:dashed;overflow:visible}
.bad{position:absolute;left:50%;bottom:-10px;transform:translateX(-50%);white-space:nowrap;
background:var(--bad);color:var(--paper);font-size:10.5px;line-height:1;
padding:3px 4px;border-radius:6px}
.key{display:flex;flex-wrap:wrap;gap:6px 20px;font-size:14px;color:var(--muted);align-items:center;margin-top:14px}
.key span.frame{display:inline-block;width:20px;height:20px;vertical-align:-4px;margin-right:6px;--class:var(--accent)}
.matrix{display:grid;gap:1px;max-width:620px;margin-top:18px;--n:20;
grid-template-columns:minmax(0,1.15fr) repeat(var(--n),minmax(0,1fr))}
.matrix>*{aspect-ratio:1;min-width:0;display:flex;align-items:center;justify-content:center}
.matrix i{font:500 clamp(7px,1.5vw,11.5px)/1 system-ui,sans-serif;border-radius:2px;
background:color-mix(in srgb,var(--c) calc(var(--v)*85% + 6%),var(--paper))}
.matrix i.zero{background:var(--card)}.matrix i.dark{color:var(--paper)}.matrix b{font-size:clamp(7px,1.6vw,11px)}
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr));gap:14px;margin-top:16px}
.pair{background:var(--card);border-radius:12px;padding:14px 16px;font-size:13.5px;color:var(--muted);
overflow-wrap:anywhere}
.pair div{display:flex;align-items:flex-start;gap:10px;margin-bottom:8px}
.pair figure{margin:0;width:60px;text-align:center;font-size:12px;line-height:1.25}
.pair figure img{border:1px solid var(--line);border-radius:5px;margin-bottom:4px}
.pair.wide div{display:block}.pair.wide figure{width:auto;text-align:left;margin-bottom:6px}
table.told{margin:0}
.told td,.told th{padding:5px 12px 5px 0;width:auto;white-space:normal;color:var(--ink);text-align:left}
.told th{font-size:13px;font-weight:500;color:var(--muted);border-bottom:1px solid var(--line);padding-top:12px}
.told td:first-child{white-space:normal;width:66%;color:var(--ink)}
.told td:first-child:has(.px){width:1%}.told .px{width:40px}.told .px.wide{width:120px}.told .wrong{color:var(--bad)}
.given .more{width:auto;font-weight:400}
.tasks.wide{grid-template-columns:1fr}
.returns{display:block;overflow-x:auto;font-size:13.5px}.returns th{font-weight:500;color:var(--muted);text-align:left;
padding:5px 12px 5px 0;border-bottom:1px solid var(--line)}
.returns td{font-variant-numeric:tabular-nums;white-space:nowrap}
details{margin-top:52px;border-top:1px solid var(--line);padding-top:16px}
summary{cursor:pointer;font-weight:600}
table{border-collapse:collapse;font-size:14px;width:100%;margin-top:12px}
td{padding:4px 12px 4px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
td:first-child{color:var(--muted);white-space:nowrap;width:1%;padding-right:24px}
footer{margin-top:40px;font-size:13.5px;color:var(--muted)}
@media(max-width:520px){main{padding-top:26px}h1{font-size:25px}h2{margin-top:42px}.frame .px{width:28px}
dl.facts{grid-template-columns:1fr;gap:0}dl.facts dd{margin-bottom:8px}}
@media print{details{display:none}.tile,.task,.pair{break-inside:avoid}}
"""


@dataclass(frozen=True)
class Section:
    """A heading, what one sees in one or two sentences, and the picture of it (HTML)."""

    title: str
    text: str
    body: str


def escape(text: object) -> str:
    return html.escape(str(text))


def _prose(text: str) -> str:
    return escape(text).replace(" %", "\u00a0%")


def tile(what: str, value: str, note: str = "", main: bool = False) -> str:
    """One large number; `value` may end in ± and a margin, which is set smaller."""
    number, plus_minus, margin = value.partition(" ± ")
    if margin.endswith(" %"):
        number, margin = f"{number} %", margin.removesuffix(" %")
    small = f" <small>± {escape(margin)}</small>" if plus_minus else ""
    kind = "tile main" if main else "tile"
    return (
        f'<div class="{kind}"><div class="what">{escape(what)}</div><div class="value">{escape(number)}{small}</div>'
        f'<div class="what">{_prose(note)}</div></div>'
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    return '<dl class="facts">' + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs) + "</dl>"


def chart(svg: str, title: str = "", value: str = "") -> str:
    head = f"<h3>{escape(title)}<span>{escape(value)}</span></h3>" if title else ""
    return f"<figure>{head}{svg}</figure>"


def charts(*figures: str, wide: bool = False) -> str:
    """Charts side by side, or `wide`, each over the whole width."""
    return f'<div class="charts{" wide" if wide else ""}">{"".join(figures)}</div>'


def header(kind: str, title: str, lead: str, *below: str) -> str:
    """What stands above the first section: what kind of page it is, its title and one sentence. below: HTML, such as
    tiles."""
    said = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f'<p class="eyebrow">{escape(kind)}</p><h1>{escape(title)}</h1>{said}{"".join(below)}'


def tiled(tiles: str) -> str:
    return f'<div class="tiles">{tiles}</div>'


def page(
    title: str, header: str, sections: Sequence[Section], settings: Sequence[tuple[str, str]], footer: str,
    of: str = "Every setting of this run",
) -> str:  # fmt: skip
    """The whole document. header: HTML above the first section. settings: shown on demand, under the words `of`."""
    body = "".join(f"<section><h2>{escape(s.title)}</h2><p>{_prose(s.text)}</p>{s.body}</section>" for s in sections)
    rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in settings)
    more = f"<details><summary>{escape(of)}</summary><table>{rows}</table></details>" if rows else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body><main>{header}{body}"
        f"{more}<footer>{escape(footer)}</footer></main></body></html>\n"
    )
