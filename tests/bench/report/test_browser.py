"""The HTML report as a browser shows it, where there is one: sorting, requests, errors, narrow windows, dark backgrounds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from bench.report import write_report
from bench.report.blocks import MOST_COLUMNS

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver here")

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(made: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    return write_report(made.page_study(folder), folder / "out", "html").as_uri()


def show(browser: Any, page: str, width: int = 1280, height: int = 800, scheme: str = "light") -> None:
    """Load the page in a window of that size and theme."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    theme = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
    browser.get(page)


def column(browser: Any, index: int) -> list[Any]:
    """What the first table sorts that column by, from top to bottom: numbers, None for missing ones, or texts."""
    script = """return Array.from(document.querySelector('table.sortable').tBodies[0].rows, row => {
        const cell = row.cells[arguments[0]];
        if (!cell.classList.contains('number')) return cell.textContent.trim();
        return 'value' in cell.dataset ? Number(cell.dataset.value) : null; })"""
    found: list[Any] = browser.execute_script(script, index)
    return found


def press(browser: Any, index: int) -> str:
    """Press the heading of a column of the first table; its aria-sort then."""
    script = """const heading = document.querySelector('table.sortable').tHead.rows[0].cells[arguments[0]];
        heading.querySelector('button').click();
        return heading.ariaSort"""
    return str(browser.execute_script(script, index))


def headings(browser: Any) -> list[str]:
    """The column headings of the first table."""
    found: list[str] = browser.execute_script(
        "return Array.from(document.querySelector('table.sortable').tHead.rows[0].cells, cell => cell.textContent.trim())"
    )
    return found


def test_numbers_sort_as_numbers_both_ways_and_missing_ones_stay_last(browser: Any, page: str) -> None:
    show(browser, page)
    for name in ("fd[digits-cnn] ↓", "likelihood-gain ↑", "steps"):
        index = headings(browser).index(name)
        before = column(browser, index)
        present = sorted(value for value in before if value is not None)
        missing = [None] * (len(before) - len(present))
        assert press(browser, index) == "ascending"
        assert column(browser, index) == present + missing
        assert press(browser, index) == "descending"
        assert column(browser, index) == present[::-1] + missing
        assert (name == "likelihood-gain ↑") == bool(missing)


def test_words_sort_and_only_one_column_is_marked(browser: Any, page: str) -> None:
    show(browser, page)
    assert press(browser, 3) == "ascending"
    assert press(browser, 0) == "ascending"
    words = column(browser, 0)
    assert words == sorted(words)
    marks = browser.execute_script(
        "return Array.from(document.querySelector('table.sortable').tHead.rows[0].cells, h => h.ariaSort)"
    )
    assert marks == ["ascending"] + ["none"] * (len(marks) - 1)


def test_a_heading_is_reached_and_pressed_by_keyboard(browser: Any, page: str) -> None:
    show(browser, page)
    button = browser.find_element("css selector", "table.sortable th:nth-child(5) button")
    button.send_keys("\ue007")  # Enter
    assert browser.execute_script("return arguments[0].parentElement.ariaSort", button) == "ascending"
    assert browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", button) == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_console_is_silent_and_nothing_is_requested(browser: Any, page: str, scheme: str) -> None:
    browser.get("about:blank")
    browser.get_log("performance"), browser.get_log("browser")
    show(browser, page, scheme=scheme)
    press(browser, 0)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in sent if not url.startswith("data:")] == [page]
    assert not [e for e in events if e["method"] == "Network.loadingFailed"]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [320, 360, 390, 768, 1280])
def test_the_page_never_scrolls_sideways(browser: Any, page: str, width: int) -> None:
    show(browser, page, width, 740)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return innerWidth") == width


def test_dark_is_dark_and_can_be_read(browser: Any, page: str) -> None:
    script = """const light = text => { const [r, g, b] = text.match(/\\d+/g).map(Number); return (r + g + b) / 765; };
        const style = getComputedStyle(document.body);
        const chart = getComputedStyle(document.querySelector('figure:has(.chart)'));
        return [light(style.backgroundColor), light(style.color), chart.filter]"""
    for scheme, sense in (("light", 1), ("dark", -1)):
        show(browser, page, scheme=scheme)
        paper, ink, turned = browser.execute_script(script)
        assert sense * (paper - ink) > 0.6
        assert ("invert" in turned) == (scheme == "dark")


def test_the_first_screen_answers(browser: Any, page: str) -> None:
    """On a laptop every question, on a phone the first ones."""
    bottom = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"
    show(browser, page)
    assert browser.execute_script(bottom, ".front") <= 800
    show(browser, page, 390, 844)
    assert browser.execute_script(bottom, ".front tr:nth-child(2)") <= 844


def test_an_answer_leads_to_its_reading_though_that_is_folded(browser: Any, page: str) -> None:
    show(browser, page)
    assert browser.execute_script("return document.querySelectorAll('.part details[open]').length") == 0
    browser.find_element("css selector", ".front a").click()
    script = """const end = document.querySelector(':target'), box = end.getBoundingClientRect();
        return [end.querySelector('h4').textContent, Math.round(box.top) >= 0 && box.top < innerHeight, box.height > 0]"""
    assert browser.execute_script(script) == ["β=1 (model)", True, True]


def test_the_contents_lead_to_every_block(browser: Any, page: str) -> None:
    show(browser, page)
    lost = """return Array.from(document.querySelectorAll('nav a'), a => a.hash.slice(1))
        .filter(id => !document.getElementById(id))"""
    assert browser.execute_script(lost) == []
    titles = "return Array.from(document.querySelectorAll('.part h3'), h => h.textContent)"
    named = browser.execute_script("return Array.from(document.querySelectorAll('nav a'), a => a.textContent)")
    assert set(browser.execute_script(titles)) - {"Every reading behind these sentences"} <= set(named)


def test_models_leave_the_tables_and_come_back(browser: Any, page: str) -> None:
    shown = """return Array.from(document.querySelectorAll('tr[data-model="gan-ns"]'), row => row.checkVisibility())
        .filter(Boolean).length"""
    show(browser, page)
    before = browser.execute_script(shown)
    box = browser.find_element("css selector", "#models input[value='gan-ns']")
    box.click()
    assert browser.execute_script(shown) == 0
    box.click()
    assert browser.execute_script(shown) == before > 0


def test_a_wide_table_shows_what_matters_most_and_all_when_asked(browser: Any, page: str) -> None:
    script = """return Array.from(document.querySelector('table.sortable').tHead.rows[0].cells, h => h.checkVisibility())
        .filter(Boolean).length"""
    show(browser, page)
    assert browser.execute_script(script) == MOST_COLUMNS
    browser.find_element("css selector", ".all input").click()
    assert browser.execute_script(script) == len(headings(browser)) > MOST_COLUMNS


def test_all_pictures_are_drawn(browser: Any, page: str) -> None:
    show(browser, page)
    browser.execute_script("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    sizes = browser.execute_script("return Array.from(document.images, i => i.complete && i.naturalWidth)")
    assert sizes
    assert all(sizes)
    heights = browser.execute_script(
        "return Array.from(document.querySelectorAll('.chart svg'), s => s.getBoundingClientRect().height)"
    )
    assert len(heights) >= 3
    assert min(heights) > 150
