"""The page in a browser over a server: drawn on, typed into and clicked as people do."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.page_browser import Points, browser, circle, dark, needs_browser, served, sized, stroke, zigzag

pytest.importorskip("selenium")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = needs_browser
PATIENCE = 15  # seconds


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("served")) as told:
        yield told


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("browser")) as told:
        yield told


@pytest.fixture
def page(driver: Any, address: str) -> Page:
    """The page with a new model."""
    page = Page(driver)
    driver.get(address)
    page.until(lambda: page.all(".box"))
    if page.all(".examples li"):
        page.click("#models summary")
        page.until(lambda: page.all("[data-start]")).pop().click()
        page.until(lambda: page.all(".box") and not page.all(".examples li"))
    return page


class Page:
    """What a reader sees and does."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str, place: int = 0) -> Any:
        return self.until(lambda: self.all(selector)[place:])[0]

    def click(self, selector: str, place: int = 0) -> None:
        self.one(selector, place).click()

    def text(self, selector: str) -> str:
        """What is written there now."""
        return str(self.driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def until(self, told: Callable[[], Any]) -> Any:
        """What `told` gives once it is something."""
        end = time.monotonic() + PATIENCE
        while not (found := told()):
            if time.monotonic() > end:
                self.driver.save_screenshot("/tmp/page-try/failed.png")
                raise AssertionError(f"{self.text('body')}\n{self.driver.get_log('browser')}")
            time.sleep(0.03)
        return found

    def give(self, place: int, points: Points) -> None:
        """Draw an example into a box, and add it."""
        before = len(self.all(".box .examples li"))
        stroke(self.driver, self.one(".box canvas", place), points)
        self.all(".box")[place].find_element("css selector", ".buttons .main").click()
        self.until(lambda: len(self.all(".box .examples li")) == before + 1)

    def teach(self, count: int = 2) -> None:
        """Circles into the first box, zigzags into the second."""
        for seed in range(count):
            self.give(0, circle(seed))
            self.give(1, zigzag(seed))

    def draw(self, points: Points) -> None:
        """Ask about a drawing."""
        self.click(".try .buttons button")
        stroke(self.driver, self.one(".try canvas"), points)

    def name(self, place: int) -> str:
        return str(self.one(".box .name", place).get_property("value"))

    def rename(self, place: int, name: str) -> None:
        self.click(".box .name", place)
        ActionChains(self.driver).send_keys(name, Keys.ENTER).perform()

    def counts(self) -> list[int]:
        return [len(box.find_elements("css selector", ".examples li")) for box in self.all(".box")]

    def complaints(self) -> list[str]:
        return [one.get_dom_attribute("data-code") for one in self.all(".notice")]


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


def test_answers_have_bars_and_the_examples_nearest_to_them(page: Page) -> None:
    page.teach()
    page.draw(zigzag(20))
    assert page.until(lambda: page.text(".top")) == page.name(1)
    bars = page.until(lambda: page.all(".bars li"))
    assert [bar.text.split("\n")[0] for bar in bars] == [page.name(1), page.name(0)]
    shares = [float(bar.find_element("css selector", ".track i").size["width"]) for bar in bars]
    assert shares[0] > shares[1]
    assert page.all(".nearest li")[0].text == page.name(1)
    assert "100" in page.text(".estimate")


def test_what_is_like_nothing_is_none_of_these_and_bars_stay(page: Page) -> None:
    page.teach(3)
    scrawl = [((7 * i % 11) / 14 - 0.4, (5 * i % 13) / 16 - 0.4) for i in range(12)]
    page.draw(scrawl)
    page.until(lambda: page.text(".top") == "None of these")
    assert len(page.all(".answer.refused .bars li")) == 2


def test_the_answer_follows_the_examples(page: Page) -> None:
    page.teach(1)
    page.click(".more")
    page.rename(2, "Third")
    page.draw(circle(9))
    page.until(lambda: page.text(".top") == page.name(0))
    page.give(2, circle(9))
    page.until(lambda: page.text(".top") == "Third")
    page.click("#undo")
    page.until(lambda: page.text(".top") == page.name(0))


def test_an_example_is_forgotten_and_brought_back(page: Page) -> None:
    page.teach()
    page.click(".box .examples button", 1)
    page.until(lambda: page.counts() == [1, 2])
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    page.until(lambda: page.counts() == [2, 2])


def test_a_class_is_removed_and_brought_back(page: Page) -> None:
    page.rename(1, "Zigzag")
    page.teach()
    page.click(".box .remove", 1)
    page.until(lambda: page.counts() == [2, 0])  # a second box is there again, and empty
    page.click("#undo")
    page.until(lambda: sorted(page.counts()) == [2, 2])
    assert "Zigzag" in {page.name(0), page.name(1)}


def test_examples_are_there_after_the_page_is_loaded_anew(page: Page) -> None:
    page.rename(1, "<b>Zig & zag</b>")
    page.teach()
    page.driver.refresh()
    page.until(lambda: page.counts() == [2, 2])
    assert page.name(1) == "<b>Zig & zag</b>"
    loaded = "return [...document.querySelectorAll('.examples img')].map((one) => one.naturalWidth)"
    page.until(lambda: all(page.driver.execute_script(loaded)))


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


def test_two_classes_have_no_name_in_common(page: Page) -> None:
    page.rename(1, page.name(0))
    page.until(lambda: page.complaints() == ["name_taken"])
    assert page.name(0) != page.name(1)


def test_models_are_made_opened_and_deleted(page: Page) -> None:
    page.teach(1)
    page.click("#models summary")
    page.until(lambda: page.all("[data-start]")).pop().click()
    page.until(lambda: page.counts() == [0, 0])
    page.click("#models summary")
    kept = [one.get_dom_attribute("data-model") for one in page.until(lambda: page.all("[data-model]"))]
    assert len(kept) >= 2
    other = page.all("[data-model]:not([aria-current])")[0].get_dom_attribute("data-model")
    page.click(f"[data-model='{other}']")
    page.until(lambda: page.counts() == [1, 1])
    page.click("#models summary")
    page.until(lambda: page.all("[aria-current] + button")).pop().click()
    page.driver.switch_to.alert.accept()
    page.until(lambda: page.counts() != [1, 1])
    page.click("#models summary")
    page.until(lambda: page.all("[data-model]"))
    assert other not in [one.get_dom_attribute("data-model") for one in page.all("[data-model]")]


def test_the_model_is_downloaded(page: Page) -> None:
    page.teach(1)
    caught = """
      const made = URL.createObjectURL;
      URL.createObjectURL = (blob) => {
        const reader = new FileReader();
        reader.onload = () => { window.caught = reader.result.split(",")[1]; };
        reader.readAsDataURL(blob);
        return made(blob);
      };"""
    page.driver.execute_script(caught)
    page.click(".menu:not(#models) summary")
    page.click("[data-download=model]")
    import base64

    data = base64.b64decode(page.until(lambda: page.driver.execute_script("return window.caught")))
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
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest("[lang=en] p")) said.push(walker.currentNode.data);
  for (const node of document.querySelectorAll("*"))
    for (const name of ["title", "placeholder", "alt", "aria-label"]) said.push(node.getAttribute(name) ?? "");
  done(said.map((one) => one.trim()).filter(Boolean));
"""


def test_every_string_on_the_page_comes_from_the_words(page: Page) -> None:
    page.rename(0, "Aa")
    page.rename(1, "Bb")
    page.teach()
    page.draw(circle(3))
    page.until(lambda: page.text(".top"))
    page.rename(1, "Aa")
    page.click(".menu:not(#models) summary")
    script = f"const callback = arguments[0]; (async () => {{ {BRACKETED.replace('arguments[0]', 'callback')} }})();"
    said = page.driver.execute_async_script(script)
    strange = [one for one in said if not (one.startswith("⟦") and one.endswith("⟧")) and one not in ("Aa", "Bb", "×")]
    assert [one for one in strange if not re.fullmatch(r"[<>]?\d+%?", one)] == []
    assert len(said) > 50


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_is_wider_than_the_page(page: Page, width: int) -> None:
    page.rename(0, "A name that is as long as names can be, which is rather long, and then longer still")
    page.teach()
    page.draw(circle(3))
    page.until(lambda: page.text(".top"))
    try:
        sized(page.driver, width)
        for shade in (False, True):
            dark(page.driver, shade)
            for menu in page.all(".menu summary"):
                menu.click()
                page.until(lambda: page.all(".menu[open] .entries > *"))
                wide, room = page.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
                assert wide <= room
            page.driver.find_element("css selector", "h1").click()
    finally:
        sized(page.driver, 1400)
        dark(page.driver, False)


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
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest(":disabled, .here, option")) continue;
    const [a, b] = [light(channels(getComputedStyle(node).color)), light(under(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push([node.innerText, (a + 0.05) / (b + 0.05)]);
  }
  return low;
"""


@pytest.mark.parametrize("shade", [False, True])
def test_all_can_be_read(page: Page, shade: bool) -> None:
    page.teach()
    for _ in range(6):
        page.click(".more")
    page.draw(circle(3))
    page.until(lambda: page.text(".top"))
    page.rename(1, page.name(0))
    page.until(page.complaints)
    try:
        dark(page.driver, shade)
        time.sleep(0.1)
        assert page.driver.execute_script(CONTRAST) == []
    finally:
        dark(page.driver, False)
