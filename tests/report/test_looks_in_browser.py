"""How the page looks in a real browser: colours, charts, widths, paper."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser import open_page


def background(page: Any) -> int:
    """How light the page is, from 0 to 765."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3])


def chart_text(page: Any) -> str:
    return page.evaluate("document.querySelector('#plane-0 .xtick text').style.fill")


def test_dark_mode_follows_the_system_and_the_readers_choice(page: Any) -> None:
    page.locator("#plane-0").scroll_into_view_if_needed()
    page.wait_for_selector("#plane-0 .xtick")
    light = chart_text(page)
    assert background(page) > 700
    page.emulate_media(color_scheme="dark")
    assert background(page) < 100
    page.wait_for_function("before => document.querySelector('#plane-0 .xtick text').style.fill !== before", arg=light)
    page.select_option("#theme", "light")
    assert background(page) > 700
    page.wait_for_function("before => document.querySelector('#plane-0 .xtick text').style.fill === before", arg=light)
    page.emulate_media(color_scheme="light")
    page.select_option("#theme", "dark")
    assert background(page) < 100
    page.reload()
    assert background(page) < 100  # remembered
    page.select_option("#theme", "")
    assert background(page) > 700


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(page: Any, scheme: str) -> None:
    """WCAG 2: 4.5 for text, 3 for lines in charts."""
    page.emulate_media(color_scheme=scheme)
    colours = page.evaluate(
        """() => {
          const probe = document.body.appendChild(document.createElement("span"));
          const series = Array.from({ length: 8 }, (_, number) => `series-${number}`);
          const grounds = ["page", "card", "raised", "alarm-card"];
          const texts = ["text", "muted", "accent", "safe", "controversial", "unsafe", "alarm"];
          const colour = (name) => {
            probe.style.color = `var(--${name})`;
            return [name, getComputedStyle(probe).color.match(/\\d+/g).slice(0, 3).map(Number)];
          };
          const found = Object.fromEntries([...series, ...grounds, ...texts].map(colour));
          probe.remove();
          return found;
        }"""
    )
    for text, ground in itertools.product(
        ("text", "muted", "accent", "safe", "controversial", "unsafe"), ("page", "card", "raised")
    ):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for text in ("text", "alarm", "muted", "accent"):
        assert contrast(colours[text], colours["alarm-card"]) >= 4.5, text
    for number in range(8):
        assert contrast(colours[f"series-{number}"], colours["card"]) >= 3


def contrast(one: list[int], other: list[int]) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: list[int]) -> float:
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_legend_hides_a_run_everywhere(page: Any) -> None:
    page.locator("#curves-0").scroll_into_view_if_needed()
    page.wait_for_selector("#curves-0 .main-svg")
    visible_runs = """() => {
      const shown = document.getElementById("curves-0").data.filter((trace) => trace.visible);
      return [...new Set(shown.map((trace) => trace.meta.run))];
    }"""
    assert page.evaluate(visible_runs) == [0, 1]
    button = page.locator("[data-toggles-run='1']")
    button.click()
    page.wait_for_function(f"() => ({visible_runs})().length === 1")
    assert button.get_attribute("aria-pressed") == "false"
    assert page.locator("figure[data-runs='1']").count() == 1
    assert page.locator("figure[data-runs='1']").is_hidden()
    button.click()
    page.wait_for_function(f"() => ({visible_runs})().length === 2")


def test_smoothing_and_alarms_in_the_charts(page: Any) -> None:
    page.locator("#curves-0").scroll_into_view_if_needed()
    page.wait_for_selector("#curves-0 .main-svg")
    state = """() => {
      const { data, layout } = document.getElementById("curves-0");
      return [data.length, layout.shapes.map((shape) => shape.x0)];
    }"""
    page.locator("#smoothing").fill("0")
    page.wait_for_function(f"() => ({state})()[0] === 2")
    page.locator("#smoothing").fill("0.9")
    page.wait_for_function(f"() => ({state})()[0] === 4")  # each line, and its pale self
    assert page.evaluate(state)[1] == [20]


def test_charts_are_drawn_when_they_are_reached(browser: Any, page_path: Path) -> None:
    with open_page(browser, page_path, viewport={"width": 400, "height": 500}) as visit:
        drawn = "document.querySelectorAll('.js-plotly-plot').length"
        first = visit.page.evaluate(drawn)
        visit.page.evaluate("document.getElementById('categories').scrollIntoView()")
        visit.page.wait_for_selector("#categories-0.js-plotly-plot")
        assert visit.page.evaluate(drawn) > first


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_no_width_scrolls_sideways(browser: Any, page_path: Path, width: int) -> None:
    with open_page(browser, page_path, viewport={"width": width, "height": 900}) as visit:
        visit.page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        visit.page.evaluate("document.getElementById('rollouts-section').scrollIntoView()")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        visit.page.locator("#rollouts a").first.click()
        box = visit.page.locator("#detail").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_on_paper_everything_is_drawn_open_and_light(browser: Any, page_path: Path) -> None:
    with open_page(browser, page_path, color_scheme="dark") as visit:
        page = visit.page
        assert len(page.pdf(format="A4")) > 50_000
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert background(page) == 765
        figures = page.locator("figure:visible .chart")
        assert figures.count() == page.locator("figure:visible .chart.js-plotly-plot").count() >= 8
        widths = page.evaluate(
            "[...document.querySelectorAll('.main-svg')].map((svg) => svg.getBoundingClientRect().right)"
        )
        assert max(widths) <= 724
        assert page.locator("#all-settings").is_hidden()
        assert page.locator("#rollouts tbody tr").count() == 20
        assert page.locator("#filters").is_hidden()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("#rollouts tbody tr").count() == 50


def test_nothing_is_wider_than_the_sheet_nor_a_chart_than_its_column(browser: Any, page_path: Path) -> None:
    with open_page(browser, page_path, viewport={"width": 1440, "height": 900}) as visit:
        page = visit.page
        page.evaluate("dispatchEvent(new Event('beforeprint'))")  # while the page has its screen's width
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 688, "height": 900})  # A4 without its margins
        assert page.evaluate("document.documentElement.scrollWidth") <= 688
        too_wide = """() => [...document.querySelectorAll(".main-svg")].filter((svg) =>
          svg.getBoundingClientRect().right > svg.closest("figure").getBoundingClientRect().right + 1).length"""
        assert page.evaluate(too_wide) == 0
        assert page.locator("#rollouts thead th:visible").count() >= 8
        page.evaluate("dispatchEvent(new Event('afterprint'))")
