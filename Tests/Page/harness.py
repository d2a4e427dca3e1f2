"""Browsers, waiting for conditions, and the list of tests. Nothing here sleeps for a fixed time."""

import base64
import os
import pathlib
import shutil
import time
import traceback

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import server

PATIENCE_SECONDS = float(os.environ.get("DIBS_PAGE_PATIENCE", "20"))
PICTURES = pathlib.Path(os.environ.get("DIBS_PAGE_PICTURES")
                        or pathlib.Path(__file__).resolve().parents[2] / ".build" / "page-tests" / "pictures")
PASSWORD = "correct horse battery"
# More failures than this are not a busy machine's.
MOST_SUSPECTS = 4

tests = []


def test(function):
    """Registers a test. It gets a `World`."""
    tests.append(function)
    return function


class Browser:
    """One headless Chromium with its own profile: one buyer's device."""

    def __init__(self, width=1280, height=900, language="en", dark=False, reduced_motion=False):
        options = webdriver.ChromeOptions()
        options.binary_location = os.environ.get("DIBS_CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                         "--hide-scrollbars", f"--window-size={width},{height}", f"--lang={language}"):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = os.environ.get("DIBS_CHROMEDRIVER") or shutil.which("chromedriver")
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        # The driver's own limit is five minutes.
        self.driver.set_page_load_timeout(60)
        self.width = width
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=width < 500)
        features = [("prefers-color-scheme", "dark" if dark else "light"),
                    ("prefers-reduced-motion", "reduce" if reduced_motion else "no-preference")]
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in features])

    def cdp(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def before_page_scripts(self, source):
        """Runs this in every page before the page's own scripts."""
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=source)

    # Going and looking

    def open(self, fragment=""):
        """Loads the page anew, at the view that the fragment names."""
        self.driver.get("about:blank")
        self.driver.get(f"{server.URL}/{fragment}")
        self.find("main h1")

    def reload(self):
        self.driver.refresh()
        self.find("main h1")

    def until(self, condition, what):
        """Waits until condition() is true (or an element), and gives it."""
        def holds(_):
            try:
                return condition()
            except (StaleElementReferenceException, WebDriverException):
                return False
        try:
            return WebDriverWait(self.driver, PATIENCE_SECONDS, 0.05).until(holds)
        except WebDriverException:
            raise AssertionError(f"waited in vain for: {what}") from None

    def shown(self, selector):
        return [e for e in self.driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    def find(self, selector):
        return self.until(lambda: next(iter(self.shown(selector)), None), f"{selector} to be shown")

    def gone(self, selector):
        self.until(lambda: not self.shown(selector), f"{selector} to go")

    def text(self, selector):
        return self.find(selector).text

    def says(self, selector, words):
        self.until(lambda: any(words in e.text for e in self.shown(selector)), f"{selector} to say “{words}”")

    def attribute(self, selector, name):
        return self.driver.find_element(By.CSS_SELECTOR, selector).get_attribute(name)

    def has(self, selector, name, value):
        self.until(lambda: self.attribute(selector, name) == value, f"{selector} to have {name}={value}")

    def evaluate(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    # Doing

    def click(self, selector):
        self.find(selector).click()

    def type(self, selector, words):
        field = self.find(selector)
        field.clear()
        field.send_keys(words)

    def set_value(self, selector, value):
        """For inputs whose typing depends on the locale, as datetime-local."""
        self.evaluate("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
                      self.find(selector), value)

    def press(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def tab_to(self, selector, most=40):
        """Moves focus by the tab key alone until it is on this element."""
        for _ in range(most):
            if self.evaluate("return document.activeElement.matches(arguments[0])", selector):
                return
            self.press(Keys.TAB)
        raise AssertionError(f"the tab key never reached {selector}")

    def sign_up(self, name=None):
        """Makes an account by the dialog. Returns the name."""
        name = name or server.unique("buyer")
        if not self.shown("dialog"):
            self.click("#sign-in")
        self.type("dialog [name=name]", name)
        self.type("dialog [name=password]", PASSWORD)
        self.click("dialog [type=submit]")
        self.gone("dialog")
        return name

    def user_id(self):
        return self.evaluate("return JSON.parse(sessionStorage['dibs:user'] ?? localStorage['dibs:user']).userId")

    def enter_admin_key(self):
        self.type("[name=key]", server.ADMIN_KEY)
        self.click("form [type=submit]")
        self.gone("[name=key]")

    def outcome_is(self, status):
        self.has("#outcome", "data-status", status)

    # Judging

    def picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        size = self.evaluate("return [innerWidth, Math.max(innerHeight, document.documentElement.scrollHeight)]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        (PICTURES / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def complaints(self):
        """What the console says of scripts that failed or were not allowed. A refused request is not a complaint."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE" and "Failed to load resource" not in entry["message"]
                and "WebSocket connection" not in entry["message"]]

    def quit_somehow(self):
        """Ends it. That it could not be told so is no reason to end the run."""
        try:
            self.driver.quit()
        except Exception as error:
            print(f"      a browser did not end: {type(error).__name__}", flush=True)


class World:
    """What one test uses; its own browsers are closed after it."""

    shared = None

    def __init__(self):
        self.browsers = []
        self.borrowed = []

    def browser(self, **options):
        browser = Browser(**options)
        self.browsers.append(browser)
        return browser

    def shared_browser(self):
        """One for all tests that leave nothing behind in it but a page. It stays open until the end."""
        if World.shared is None:
            World.shared = Browser()
        self.borrowed.append(World.shared)
        return World.shared

    def close(self):
        for browser in self.browsers:
            browser.quit_somehow()

    @staticmethod
    def end_shared():
        if World.shared is not None:
            World.shared.quit_somehow()
            World.shared = None


def passes(function):
    """Runs one test in a world of its own, and says how it went."""
    name = function.__name__
    world, started = World(), time.monotonic()
    try:
        function(world)
        complaints = [line for browser in world.browsers + world.borrowed for line in browser.complaints()]
        assert not complaints, f"the console complains: {complaints}"
        print(f"ok    {name} ({time.monotonic() - started:.1f} s)", flush=True)
        return True
    except Exception:
        print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
        for number, browser in enumerate(world.browsers + world.borrowed):
            try:
                browser.picture(f"failed-{name}-{number}")
            except Exception as error:
                print(f"      no picture of browser {number}: {type(error).__name__}", flush=True)
        if world.borrowed:
            # It may be what failed; the next test gets another.
            World.end_shared()
        return False
    finally:
        world.close()


def run(wanted):
    """Runs the tests whose names contain one of `wanted`, or all. Returns the exit status.

    A test that fails is run once more at the end, in browsers of its own: on a machine that others use as well, a real
    browser may miss its patience. What fails twice has failed, and what passed only then is named, so that a test that
    often needs it is seen.
    """
    chosen = [function for function in tests
              if not wanted or any(part in function.__name__ for part in wanted)]
    suspects = [function for function in chosen if not passes(function)]
    failed = []
    if len(suspects) <= MOST_SUSPECTS:
        for function in suspects:
            print(f"again {function.__name__}", flush=True)
            if not passes(function):
                failed.append(function)
    else:
        print(f"{len(suspects)} failed: that is no accident, and none is run again")
        failed = suspects
    World.end_shared()
    if not chosen:
        print(f"no test is named like {wanted}")
    flaky = [function.__name__ for function in suspects if function not in failed]
    if flaky:
        print(f"flaky, passed only when run again: {', '.join(flaky)}")
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 0 if chosen and not failed else 1
