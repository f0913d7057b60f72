"""The system's Chromium without a screen, as tests of pages drive it."""

import json
import shutil
import tempfile
import time
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.common.keys import Keys

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def missing():
    """Why no browser can be driven here; None if one can."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)}: not installed" if absent else None


@contextmanager
def started():
    """A browser with an empty profile; its console and its requests are logged."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        driver = webdriver.Chrome(options, service)
        try:
            yield driver
        finally:
            driver.quit()


def resize(driver, width, height=900):
    """Give the page another size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def complaints(driver):
    """What the console says since the last call."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver):
    """The addresses that were asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def opened(driver, page, place=""):
    """Load a page afresh and wait for what it draws."""
    driver.get("about:blank")
    requests(driver)
    complaints(driver)
    driver.get(f"{page.as_uri()}{place}")
    wait(lambda: driver.execute_script("return !document.querySelector('main').hidden"))


def assert_quiet(driver, page):
    """Nothing on the console, and no request but that of the page itself."""
    assert complaints(driver) == []
    assert set(requests(driver)) == {page.as_uri()}


def wait(happens):
    for _ in range(600):
        if happens():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def click(driver, name):
    driver.execute_script("arguments[0].click()", driver.find_element("id", name))


def press(driver, *keys, shift=False):
    chain = webdriver.ActionChains(driver)
    chain = (
        chain.key_down(Keys.SHIFT).send_keys(*keys).key_up(Keys.SHIFT) if shift else chain.send_keys(*keys)
    )
    chain.perform()


def slide(driver, name, value):
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    driver.execute_script(script, driver.find_element("id", name), value)


def texts(driver, selector):
    return [element.text for element in driver.find_elements("css selector", selector)]


def focused(driver, most):
    """The names of what the tabulator leads to, each of which shows that it has the focus."""
    names = []
    for _ in range(most):
        press(driver, Keys.TAB)
        element = driver.switch_to.active_element
        if element.tag_name == "body":
            break
        names.append(element.accessible_name)
        outline = driver.execute_script("return getComputedStyle(arguments[0]).outlineStyle", element)
        assert outline != "none", element.accessible_name
    return names
