"""The page in a browser over a server: drawn on, typed into and clicked as people do."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.web.page_browser import Points, browser, circle, dark, drawing, needs_browser, served, sized, zigzag
from tests.web.page_reader import PATIENCE, Page

pytest.importorskip("selenium")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

pytestmark = needs_browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("served")) as told:
        yield told


@pytest.fixture
def page(driver: Any, address: str) -> Page:
    """The page with a model that knows nothing yet."""
    return opened(driver, address, {})


@pytest.fixture
def taught(driver: Any, address: str) -> Page:
    """The page with a model that knows two circles and two zigzags."""
    return opened(driver, address, {"Circle": [circle(0), circle(1)], "Zigzag": [zigzag(0), zigzag(1)]})


def opened(driver: Any, address: str, examples: Mapping[str, Sequence[Points]]) -> Page:
    """The page with a model of these drawings."""
    records = [{"file": b64encode(drawing(one)).decode()} for drawn in examples.values() for one in drawn]
    labels = [name for name, drawn in examples.items() for _ in drawn]
    body = json.dumps({"records": records, "labels": labels}).encode()
    asked = Request(f"{address}/api/models", body, {"Content-Type": "application/json"})
    with urlopen(asked, timeout=PATIENCE) as answer:
        made = json.load(answer)
    driver.get(f"{address}/style.css")
    driver.execute_script("localStorage.clear(); localStorage.setItem('quickstudy.model', arguments[0])", made["id"])
    driver.get(address)
    page = Page(driver)
    page.until(lambda: len(page.all(".examples li")) == len(labels) and page.all(".box"))
    return page


def test_five_drawings_of_two_shapes_and_the_right_answer_within_a_minute(tmp_path: Path) -> None:
    began = time.monotonic()
    with served(tmp_path) as address, browser(tmp_path) as driver:
        page = Page(driver)
        driver.get(address)
        page.rename(0, "Circle")
        page.rename(1, "Zigzag")
        for place, points in ((0, circle(1)), (0, circle(2)), (0, circle(3)), (1, zigzag(4)), (1, zigzag(5))):
            page.give(place, points)
        page.draw(circle(11))
        page.until(lambda: page.text(".top") == "Circle")
        page.draw(zigzag(12))
        page.until(lambda: page.text(".top") == "Zigzag")
        assert page.complaints() == []
    assert time.monotonic() - began <= 60


def test_answers_have_bars_and_the_examples_nearest_to_them(taught: Page) -> None:
    taught.draw(zigzag(20))
    assert taught.until(lambda: taught.text(".top")) == taught.name(1)
    bars = taught.until(lambda: taught.all(".bars li"))
    assert [bar.text.split("\n")[0] for bar in bars] == [taught.name(1), taught.name(0)]
    shares = [float(bar.find_element("css selector", ".track i").size["width"]) for bar in bars]
    assert shares[0] > shares[1]
    assert taught.all(".nearest li")[0].text == taught.name(1)
    assert "100" in taught.text(".estimate")


def test_what_is_like_nothing_is_none_of_these_and_bars_stay(taught: Page) -> None:
    scrawl = [((7 * i % 11) / 14 - 0.4, (5 * i % 13) / 16 - 0.4) for i in range(12)]
    taught.draw(scrawl)
    taught.until(lambda: taught.text(".top") == "None of these")
    assert len(taught.all(".answer.refused .bars li")) == 2


def test_the_answer_follows_the_examples(taught: Page) -> None:
    taught.click(".more")
    taught.rename(2, "Third")
    taught.draw(circle(9))
    taught.until(lambda: taught.text(".top") == taught.name(0))
    taught.give(2, circle(9))
    taught.until(lambda: taught.text(".top") == "Third")
    taught.click("#undo")
    taught.until(lambda: taught.text(".top") == taught.name(0))


def test_an_example_is_forgotten_and_brought_back(taught: Page) -> None:
    taught.click(".box .examples button", 1)
    taught.until(lambda: taught.counts() == [1, 2])
    ActionChains(taught.driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    taught.until(lambda: taught.counts() == [2, 2])


def test_a_class_is_removed_and_brought_back(taught: Page) -> None:
    taught.click(".box .remove", 1)
    taught.until(lambda: taught.counts() == [2, 0])  # a second box is there again, and empty
    taught.click("#undo")
    taught.until(lambda: sorted(taught.counts()) == [2, 2])
    assert "Zigzag" in {taught.name(0), taught.name(1)}


def test_examples_are_there_after_the_page_is_loaded_anew(taught: Page) -> None:
    taught.rename(1, "<b>Zig & zag</b>")
    taught.driver.refresh()
    taught.until(lambda: taught.counts() == [2, 2])
    assert taught.name(1) == "<b>Zig & zag</b>"
    loaded = "return [...document.querySelectorAll('.examples img')].map((one) => one.naturalWidth)"
    taught.until(lambda: all(taught.driver.execute_script(loaded)))


def test_all_is_done_by_keys_alone(page: Page) -> None:
    line, corner = (Keys.ARROW_DOWN * 9,), (Keys.ARROW_DOWN * 9, Keys.ARROW_RIGHT * 9)
    for place, moves in ((0, line), (1, corner)):
        page.driver.execute_script("document.querySelectorAll('.box canvas')[arguments[0]].focus()", place)
        ActionChains(page.driver, duration=0).send_keys(Keys.ARROW_UP * 5, " ", *moves, Keys.ENTER).perform()
        page.until(lambda place=place: page.counts()[place] == 1)
    page.driver.execute_script("document.querySelector('.try canvas').focus()")
    ActionChains(page.driver, duration=0).send_keys(Keys.ARROW_UP * 3, " ", *corner).perform()
    page.until(lambda: page.text(".top") == page.name(1))
    page.until(
        lambda: page.name(1) in page.driver.execute_script("return document.querySelector('#spoken').textContent")
    )
    reached = set()
    page.driver.execute_script("document.activeElement.blur()")
    for _ in range(60):
        ActionChains(page.driver, duration=0).send_keys(Keys.TAB).perform()
        reached.add(page.driver.execute_script("return document.activeElement.dataset.here ??= crypto.randomUUID()"))
    shown = "button:not(:disabled), input:not([type=file]), select, summary, canvas, a[href]"
    missed = "return [...document.querySelectorAll(arguments[0])].filter((n) => n.checkVisibility() && !n.dataset.here)"
    assert [one.get_attribute("outerHTML") for one in page.driver.execute_script(missed, shown)] == []


def test_files_are_chosen_several_at_once_and_what_is_none_is_told(page: Page, tmp_path: Path) -> None:
    from PIL import Image, ImageDraw

    paths = []
    for i, box in enumerate([(20, 20, 80, 80), (30, 10, 90, 70)]):
        picture = Image.new("RGB", (120, 100), "white")
        ImageDraw.Draw(picture).ellipse(box, outline="black", width=4)
        paths.append(tmp_path / f"{i}.png")
        picture.save(paths[-1])
    page.click(".box [data-tool=files]")
    page.one(".box input[type=file]").send_keys("\n".join(map(str, paths)))
    page.until(lambda: page.counts()[0] == 2)
    (tmp_path / "none.png").write_text("This is no picture.")
    page.one(".box input[type=file]").send_keys(str(tmp_path / "none.png"))
    page.until(page.complaints)
    assert page.counts()[0] == 2
    assert "none.png" in page.text(".notice")


def test_the_camera_gives_pictures(page: Page) -> None:
    page.click(".box [data-tool=camera]")
    page.click(".box .camera button")
    page.until(lambda: page.driver.execute_script("return document.querySelector('video')?.videoWidth"))
    page.click(".box .camera .main")
    page.until(lambda: page.counts()[0] == 1 or page.complaints())
    assert page.complaints() == []


@pytest.mark.parametrize("name", ["a/b?c#d%2e", "..", "猫 & <b>狗</b>"])
def test_a_class_is_renamed_and_removed_whatever_it_is_called(taught: Page, name: str) -> None:
    taught.rename(1, name)
    taught.until(lambda: taught.text("#undo") and taught.counts() == [2, 2])
    taught.draw(zigzag(7))
    taught.until(lambda: taught.text(".top") == name)
    taught.click("#undo")
    taught.until(lambda: sorted([taught.name(0), taught.name(1)]) == ["Circle", "Zigzag"])
    taught.rename(1, name)
    taught.until(lambda: taught.text(".top") == name)
    taught.click(".box .remove", 1)
    taught.until(lambda: sum(taught.counts()) == 2)
    assert taught.complaints() == []


def test_two_classes_have_no_name_in_common(page: Page) -> None:
    page.rename(1, page.name(0))
    page.until(lambda: page.complaints() == ["name_taken"])
    assert page.name(0) != page.name(1)


def test_models_are_made_opened_and_deleted(taught: Page) -> None:
    first = taught.driver.execute_script("return localStorage.getItem('quickstudy.model')")
    taught.click("#models summary")
    taught.until(lambda: taught.all("[data-start]")).pop().click()
    taught.until(lambda: taught.counts() == [0, 0])
    taught.click("#models summary")
    taught.click(f"[data-model='{first}']:not([aria-current])")
    taught.until(lambda: taught.counts() == [2, 2])
    taught.click("#models summary")
    taught.click(f"[data-model='{first}'][aria-current] + button")
    taught.driver.switch_to.alert.accept()
    taught.until(lambda: taught.counts() != [2, 2])
    taught.click("#models summary")
    taught.until(lambda: taught.all("[data-model]"))
    assert not taught.all(f"[data-model='{first}']")


def test_the_model_is_downloaded(taught: Page) -> None:
    caught = """
      const made = URL.createObjectURL;
      URL.createObjectURL = (blob) => {
        const reader = new FileReader();
        reader.onload = () => { window.caught = reader.result.split(",")[1]; };
        reader.readAsDataURL(blob);
        return made(blob);
      };"""
    taught.driver.execute_script(caught)
    taught.click(".menu:not(#models) summary")
    taught.click("[data-download=model]")
    data = b64decode(taught.until(lambda: taught.driver.execute_script("return window.caught")))
    assert any(name.endswith("model.safetensors") for name in zipfile.ZipFile(io.BytesIO(data)).namelist())


def test_chinese_readers_are_spoken_to_in_chinese(address: str, tmp_path: Path) -> None:
    with browser(tmp_path, "zh-CN") as driver:
        page = Page(driver)
        driver.get(address)
        page.until(lambda: page.text("h1"))
        assert driver.execute_script("return document.documentElement.lang") == "zh-Hans"
        words = re.sub("English|ONNX", "", page.text("body"))
        assert not re.search("[A-Za-z]{3,}", words.replace(page.name(0), "").replace(page.name(1), ""))
        page.click("#language option[value=en]")
        page.until(lambda: page.text("#undo") == "Undo")
        driver.refresh()
        page.until(lambda: page.text("#undo") == "Undo")


BRACKETED = """
  const done = arguments[0];
  const words = await import(new URL("page/words.js", document.baseURI));
  const dictionary = await (await fetch("words/en.json")).json();
  for (const key of Object.keys(dictionary)) dictionary[key] = `⟦${dictionary[key]}⟧`;
  words.use(dictionary, "en");
  const said = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode())
    if (!walker.currentNode.parentElement.closest("p[lang=en], #spoken")) said.push(walker.currentNode.data);
  for (const node of document.querySelectorAll("*"))
    for (const name of ["title", "placeholder", "alt", "aria-label"]) said.push(node.getAttribute(name) ?? "");
  done(said.map((one) => one.trim()).filter(Boolean));
"""


def test_every_string_on_the_page_comes_from_the_words(taught: Page) -> None:
    taught.rename(0, "Aa")
    taught.rename(1, "Bb")
    taught.draw(circle(3))
    taught.until(lambda: taught.text(".top"))
    taught.rename(1, "Aa")
    taught.click(".menu:not(#models) summary")
    script = f"const callback = arguments[0]; (async () => {{ {BRACKETED.replace('arguments[0]', 'callback')} }})();"
    said = taught.driver.execute_async_script(script)
    strange = [one for one in said if not (one.startswith("⟦") and one.endswith("⟧")) and one not in ("Aa", "Bb", "×")]
    assert [one for one in strange if not re.fullmatch(r"[<>]?\d+%?", one)] == []
    assert len(said) > 50


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_is_wider_than_the_page(taught: Page, width: int) -> None:
    taught.rename(0, "A name that is as long as names can be, which is rather long, and then longer still")
    taught.draw(circle(3))
    taught.until(lambda: taught.text(".top"))
    try:
        sized(taught.driver, width)
        for shade in (False, True):
            dark(taught.driver, shade)
            for menu in taught.all(".menu summary"):
                menu.click()
                taught.until(lambda: taught.all(".menu[open] .entries > *"))
                wide, room = taught.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
                assert wide <= room
            taught.driver.find_element("css selector", "h1").click()
    finally:
        sized(taught.driver, 1400)
        dark(taught.driver, False)


CONTRAST = """
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const found = channels(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    if (node.closest(":disabled, .here, option")) continue;
    const [a, b] = [light(channels(getComputedStyle(node).color)), light(under(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push([node.innerText, (a + 0.05) / (b + 0.05)]);
  }
  return low;
"""


@pytest.mark.parametrize("shade", [False, True])
def test_all_can_be_read(taught: Page, shade: bool) -> None:
    for _ in range(6):
        taught.click(".more")
    taught.draw(circle(3))
    taught.until(lambda: taught.text(".top"))
    taught.rename(1, taught.name(0))
    taught.until(taught.complaints)
    try:
        dark(taught.driver, shade)
        time.sleep(0.1)
        assert taught.driver.execute_script(CONTRAST) == []
    finally:
        dark(taught.driver, False)
