"""What each tool of the page gives, whatever the model is: by keys, drops and pastes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import quickstudy
from tests.web.browser import files_served, run
from tests.web.page_browser import browser, needs_browser, stroke, zigzag
from tests.web.page_reader import Page

pytest.importorskip("selenium")

pytestmark = needs_browser
WEB = Path(quickstudy.__file__).parent / "web"
BOX = """
  await (await import(new URL("page/words.js", document.baseURI))).speak("en");
  const { toolbox } = await import(new URL("page/tools/index.js", document.baseURI));
  window.given = [];
  const plain = (one) => (one instanceof Blob ? [one.name ?? "", one.type] : one);
  const give = async (records) => void window.given.push(records.map(plain));
  const card = document.createElement("section");
  const tools = toolbox({ format: given[0], live: given[1], give, limits: {} });
  card.append(tools.node);
  tools.takes(card);
  document.body.replaceChildren(card);
  for (const [id, live] of [["notices", "off"], ["spoken", "polite"]])
    document.body.append(Object.assign(document.createElement("div"), { id, ariaLive: live }));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with files_served(WEB) as address, browser(tmp_path_factory.mktemp("browser")) as driver:
        driver.get(address)
        yield Page(driver)


def box(page: Page, kind: str, live: bool = False, **format: Any) -> None:
    """A box of tools for one kind of records."""
    run(page.driver, BOX, {"kind": kind, **format}, live)


def given(page: Page) -> Any:
    """What the tools have given since, once they have."""
    return page.until(lambda: page.driver.execute_script("return window.given"))


def test_texts_are_typed_one_a_line(page: Page) -> None:
    box(page, "text")
    page.one("textarea").send_keys("where is my card\n\n  我的卡在哪里  \n")
    page.click(".main")
    assert given(page) == [["where is my card", "我的卡在哪里"]]
    page.until(lambda: page.one("textarea").get_property("value"))  # what nobody took stays


def test_a_drawing_that_nobody_took_stays(page: Page) -> None:
    box(page, "image")
    stroke(page.driver, page.one("canvas"), zigzag(1))
    page.click(".main")
    assert given(page) == [[["", "image/png"]]]
    page.click(".main")
    page.until(lambda: len(given(page)) == 2)  # the same once more
    page.click(".buttons button:not(.main)")
    page.click(".main")
    assert len(given(page)) == 2


def test_a_text_is_tried_as_it_is_typed(page: Page) -> None:
    box(page, "text", live=True)
    page.one("textarea").send_keys("two\nlines ")
    page.until(lambda: given(page)[-1] == ["two lines"])
    page.click(".buttons button")
    page.until(lambda: given(page)[-1] == [])


@pytest.mark.parametrize("kind", ["series", "numbers", "array"])
def test_numbers_are_pasted(page: Page, kind: str) -> None:
    box(page, kind)
    page.one("textarea").send_keys("1\n2.5\n-3e2\n")
    page.click(".main")
    assert given(page) == [[[1, 2.5, -300]]]


def test_rows_take_the_names_of_the_model_where_they_have_none(page: Page) -> None:
    box(page, "table", names=["a", "b"])
    page.one("textarea").send_keys("1,2\n3,\n")
    page.click(".main")
    assert given(page) == [[{"a": 1, "b": 2}, {"a": 3, "b": None}]]


@pytest.mark.parametrize(
    ("kind", "tools"),
    [
        ("image", ["draw", "files", "camera"]), ("sound", ["record", "files"]), ("text", ["text", "files"]),
        ("table", ["rows", "files"]), ("series", []),
    ],
)  # fmt: skip
def test_each_kind_has_its_tools(page: Page, kind: str, tools: list[str]) -> None:
    box(page, kind)
    assert [one.get_dom_attribute("data-tool") for one in page.all("[data-tool]")] == tools


def test_photos_begin_with_files(page: Page) -> None:
    box(page, "image", channels=3)
    assert page.one("[aria-pressed=true]").get_dom_attribute("data-tool") == "files"


@pytest.mark.parametrize(("event", "holder"), [("drop", "dataTransfer"), ("paste", "clipboardData")])
def test_files_are_dropped_and_pasted(page: Page, event: str, holder: str) -> None:
    box(page, "image")
    script = """
      const held = new DataTransfer();
      held.items.add(new File(["x"], "a.png", { type: "image/png" }));
      held.items.add(new File(["y"], "b.jpg", { type: "image/jpeg" }));
      const Kind = given[0] === "drop" ? DragEvent : ClipboardEvent;
      const event = new Kind(given[0], { [given[1]]: held, bubbles: true, cancelable: true });
      document.querySelector("section").dispatchEvent(event);
      return event.defaultPrevented;"""
    assert run(page.driver, script, event, holder)
    assert given(page) == [[["a.png", "image/png"], ["b.jpg", "image/jpeg"]]]


def test_files_of_texts_give_their_lines_and_files_of_rows_their_rows(page: Page, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text('x,y\n1,"a, b"\n', encoding="utf-8")
    for kind, file, expected in (("text", "a.txt", ["one", "two"]), ("table", "b.csv", [{"x": 1, "y": "a, b"}])):
        box(page, kind)
        page.click("[data-tool=files]")
        page.one("input[type=file]").send_keys(str(tmp_path / file))
        assert given(page) == [expected]


def test_the_camera_is_looked_through_again_and_again_until_it_is_stopped(page: Page) -> None:
    box(page, "image", live=True)
    page.click("[data-tool=camera]")
    page.click(".camera button")
    page.until(lambda: len(given(page)) > 2)
    assert all(one == [["", "image/jpeg"]] for one in given(page)[1:])
    track = "return document.querySelector('video')?.srcObject?.getTracks()[0].readyState ?? 'ended'"
    assert page.driver.execute_script(track) == "live"
    page.click("[data-tool=draw]")  # another tool lets the camera go
    assert page.driver.execute_script(track) == "ended"
