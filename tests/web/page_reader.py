"""What a reader of the page sees and does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.web.page_browser import Points, stroke

PATIENCE = 15  # seconds


class Page:
    """driver: of the browser that shows it."""

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
                raise AssertionError(f"{self.text('body')}\n{self.driver.get_log('browser')}")
            time.sleep(0.03)
        return found

    def give(self, place: int, points: Points) -> None:
        """Draw an example into a box, and add it."""
        before = len(self.all(".box .examples li"))
        stroke(self.driver, self.one(".box canvas", place), points)
        self.all(".box")[place].find_element("css selector", ".buttons .main").click()
        self.until(lambda: len(self.all(".box .examples li")) == before + 1)

    def draw(self, points: Points) -> None:
        """Ask about a drawing."""
        self.click(".try .buttons button")
        stroke(self.driver, self.one(".try canvas"), points)

    def name(self, place: int) -> str:
        script = "return document.querySelectorAll('.box .name')[arguments[0]]?.value ?? ''"
        return str(self.driver.execute_script(script, place))

    def rename(self, place: int, name: str) -> None:
        from selenium.webdriver.common.keys import Keys

        self.click(".box .name", place)
        self.one(".box .name", place).send_keys(Keys.CONTROL + "a" + Keys.NULL + name + Keys.ENTER)

    def counts(self) -> list[int]:
        script = (
            "return [...document.querySelectorAll('.box')].map((box) => box.querySelectorAll('.examples li').length)"
        )
        return list(self.driver.execute_script(script))

    def complaints(self) -> list[str]:
        return [one.get_dom_attribute("data-code") for one in self.all(".notice")]
