"""The page for each kind of model: tables, numbers, sounds; behind tokens; and over a model that lies beside it."""

from __future__ import annotations

import io
import wave
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import quickstudy
from tests.web.browser import files_served, run
from tests.web.node_runs import needs_wasm, wasm
from tests.web.page_browser import ELSEWHERE, browser, circle, drawing, needs_browser, served, zigzag
from tests.web.page_reader import Page

pytest.importorskip("selenium")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

pytestmark = needs_browser
WEB = Path(quickstudy.__file__).parent / "web"
TOKEN = "a-token-of-more-than-sixteen-letters"
PASTED = "const [node, words] = given; node.value = words; node.dispatchEvent(new Event('input', { bubbles: true }));"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that models of three kinds begin from."""
    with served(tmp_path_factory.mktemp("served"), "handwriting", "tables-classes", "tables-numbers") as told:
        yield told


def begun(driver: Any, address: str, start: str) -> Page:
    """The page with a new model of this kind, begun from its menu."""
    page = Page(driver)
    driver.get(address)
    page.click("#models summary")
    page.click(f"[data-start='{start}']")
    page.until(lambda: page.all("#models:not([open])") and page.all(".box"))
    return page


def paste(page: Page, selector: str, words: str) -> None:
    run(page.driver, PASTED, page.one(selector), words)


def test_a_whole_table_is_pasted_and_rows_are_told_apart(driver: Any, address: str) -> None:
    page = begun(driver, address, "tables-classes")
    page.until(lambda: page.all(".labelled"))
    lines = [f"{i % 3 + 10 * (i % 2)}\t{'red' if i % 2 else 'blue'}\t{'Cat' if i % 2 else 'Dog'}" for i in range(12)]
    page.click(".labelled summary")
    paste(page, ".labelled textarea", "\n".join(["size\tcolour\tkind", *lines]))
    page.until(lambda: page.one(".labelled select").get_property("value") == "kind")
    page.click(".labelled .main")
    page.until(lambda: page.counts() == [6, 6])
    assert {page.name(0), page.name(1)} == {"Cat", "Dog"}
    paste(page, ".try textarea", "size\tcolour\n11\tred")
    page.until(lambda: page.text(".top") == "Cat")
    paste(page, ".try textarea", "size\tcolour\n11\tred\n1\tblue")
    page.until(lambda: [one.text.split(",")[0] for one in page.all(".answers li")] == ["Cat", "Dog"])
    paste(page, ".try textarea", "size\tcolour\n11")
    page.until(lambda: page.complaints() == ["rows_uneven"])


def test_numbers_are_learned_from_rows_with_values(driver: Any, address: str) -> None:
    page = begun(driver, address, "tables-numbers")
    page.until(lambda: page.all("#value"))
    paste(page, ".box textarea", "a,b\n1,2")
    page.click(".box .typed .main")
    page.until(lambda: page.complaints() == ["no_value"])
    page.click(".labelled summary")
    paste(page, ".labelled textarea", "\n".join(["a,b,y", *(f"{i},{i % 2},{2 * i + 1}" for i in range(12))]))
    page.click(".labelled .main")
    page.until(lambda: page.counts() == [12])
    paste(page, ".try textarea", "a,b\n5,1")
    assert float(page.until(lambda: page.text(".top"))) == pytest.approx(11, abs=2)


def test_the_microphone_gives_wav_files(driver: Any, address: str) -> None:
    driver.get(address)
    script = """
      const { record } = await import(new URL("page/tools/record.js", document.baseURI));
      const heard = await new Promise((done) => {
        const { node } = record({ give: ([blob]) => done(blob), live: false });
        document.body.append(node);
        node.querySelector("button").click();
        const wait = setInterval(() => {
          if (!node.querySelector(".recording")) return;
          clearInterval(wait);
          setTimeout(() => node.querySelector(".recording").click(), 1200);
        }, 20);
      });
      return btoa(String.fromCharCode(...new Uint8Array(await heard.arrayBuffer())));"""
    with wave.open(io.BytesIO(b64decode(run(driver, script)))) as file:
        assert file.getnchannels() == 1 and 0.2 < file.getnframes() / file.getframerate() < 5
        samples = memoryview(file.readframes(file.getnframes())).cast("h")
    assert max(map(abs, samples)) > 300  # the browser's made-up microphone beeps


def test_a_page_that_is_not_secure_says_why_there_is_no_camera(driver: Any) -> None:
    script = """
      await (await import(new URL("page/words.js", document.baseURI))).speak("en");
      const tools = [];
      for (const [file, name] of [["camera.js", "camera"], ["record.js", "record"]]) {
        const module = await import(new URL(`page/tools/${file}`, document.baseURI));
        tools.push(module[name]({ give() {} }).node.textContent);
      }
      return tools;"""
    with files_served(WEB) as address:
        driver.get(address.replace("127.0.0.1", ELSEWHERE))
        assert not driver.execute_script("return isSecureContext")
        said = run(driver, script)
    assert all("https" in one and "localhost" in one for one in said), said


def test_a_token_is_asked_for_and_a_wrong_one_is_told(driver: Any, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN + "\n")
    tokens.chmod(0o600)
    with served(tmp_path, "--tokens", str(tokens)) as address:
        page = Page(driver)
        driver.get(address)
        page.one("dialog input").send_keys("another-token-that-nobody-knows\n")
        page.until(lambda: "does not know" in page.text("dialog"))
        page.one("dialog input").send_keys(TOKEN + "\n")
        page.until(lambda: page.all(".box"))
        page.give(0, circle(1))
        widths = "return [...document.querySelectorAll('.examples img')].map((one) => one.naturalWidth)"
        page.until(lambda: driver.execute_script(widths) == [28])  # pictures need the token, too


def test_a_model_that_stays_as_it_is_answers_and_a_new_one_from_it_learns(driver: Any, tmp_path: Path) -> None:
    drawings = [drawing(shape(i)) for shape in (circle, zigzag) for i in range(2)]
    model = quickstudy.pretrained("handwriting", device="cpu").adapt(drawings, ["O", "O", "Z", "Z"])
    model.save(tmp_path / "letters")
    with served(tmp_path, str(tmp_path / "letters")) as address:
        page = Page(driver)
        driver.get(address)
        page.draw(zigzag(9))
        page.until(lambda: page.text(".top") == "Z")
        assert page.one(".box .name").get_property("readOnly") and not page.all(".box .toolbox, #undo, .more")
        page.click("#models summary")
        page.click("[data-start]")
        page.until(lambda: page.counts() == [2, 2])
        page.give(1, zigzag(3))
        assert page.counts() == [2, 3] and page.complaints() == []


@needs_wasm
def test_the_page_learns_without_a_server(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from types import SimpleNamespace

    from quickstudy.deploy.export.web import write_web
    from tests.web import small_export

    folder = tmp_path / "sub" / "page"
    small_export.write(folder)
    write_web(SimpleNamespace(kept=None, names=()), folder, wasm())
    with files_served(tmp_path) as address, browser(tmp_path) as driver:
        page = Page(driver)
        driver.get(f"{address}sub/page/")
        page.rename(0, "Circle")
        page.rename(1, "Zigzag")
        for place, points in ((0, circle(1)), (0, circle(2)), (1, zigzag(3)), (1, zigzag(4))):
            page.give(place, points)
        page.draw(zigzag(5))
        page.until(lambda: page.text(".top") == "Zigzag")
        page.rename(1, "Z")
        page.until(lambda: page.text(".top") == "Z")
        driver.refresh()
        page.until(lambda: page.counts() == [2, 2])
        assert [page.name(0), page.name(1)] == ["Circle", "Z"]
        page.click("#undo")
        page.until(lambda: page.name(1) == "Zigzag")
        assert page.complaints() == [] and not page.all("#models")
