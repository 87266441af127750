"""Uses the playground in a headless Chromium, and prints what it shows: `browser_client.py URL KEY CHROMIUM DRIVER`."""

from __future__ import annotations

import json
import sys
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


def main(url: str, key: str, chromium: str, driver: str) -> None:
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in _OPTIONS:
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        sys.stdout.write(json.dumps(_used(browser, url, key)))
    finally:
        browser.quit()


def _used(browser: Any, url: str, key: str) -> dict[str, Any]:
    def all_of(selector: str) -> list[Any]:
        found: list[Any] = browser.find_elements(By.CSS_SELECTOR, selector)
        return found

    wait = WebDriverWait(browser, 20)
    browser.get(url)
    wait.until(lambda _: browser.find_element(By.ID, "key").is_displayed())
    browser.find_element(By.ID, "key").send_keys(key)
    browser.find_element(By.ID, "query").click()  # leaves the field of the key
    wait.until(lambda _: all_of("#models input"))
    for box in all_of("#models input"):
        if box.is_enabled() and not box.is_selected():
            box.click()
    names = [label.text for label in all_of("#models label")]
    chosen = [box.get_attribute("value") for box in all_of("#models input:checked")]
    browser.find_element(By.ID, "run").click()
    wait.until(lambda _: len(all_of("article ol, article .error")) == len(chosen))
    return {
        "models": names,
        "cards": [card.text for card in all_of("article")],
        "stored": browser.execute_script("return [localStorage.length, document.cookie.length]"),
        "requested": browser.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)"),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
