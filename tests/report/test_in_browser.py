"""The page over runs in a real browser: what a reader does with it, and what hostile rollouts cannot do."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")

from guard_reward.report import Run, write_runs_page
from tests.browser import open_page
from tests.report.sample_runs import ATTACKS, hostile_run, rollouts, two_runs


def wait_for_the_table_alone(page: Any) -> None:
    """No rollout is open, and the page has done what follows: its address, and the focus, come a moment later."""
    page.locator("#detail").wait_for(state="hidden")
    page.wait_for_function(
        "() => !location.hash.includes('rollout=') && !document.activeElement.closest('#detail')", timeout=10_000
    )


def shown(page: Any, column: str) -> list[str]:
    """The column's cells on the table's page."""
    return page.locator(f"#rollouts td[data-label='{column}']").all_inner_texts()


def count(page: Any) -> str:
    return page.locator("#count").inner_text()


def test_filters_narrow_the_table_together(page: Any) -> None:
    assert count(page) == "Showing 241 of 241 sampled of 4,120 rollouts"
    page.select_option("select[name=severity]", "Unsafe")
    assert count(page).startswith("Showing 60 of 241")
    assert set(shown(page, "Severity")) == {"✗ Unsafe"} or set(shown(page, "Severity")) == {"Unsafe"}
    page.select_option("select[name=run]", "hybrid")
    page.select_option("select[name=refusal]", "yes")
    page.fill("input[name=from]", "10")
    page.fill("input[name=to]", "20")
    steps = [int(step) for step in shown(page, "Step")]
    assert steps
    assert all(10 <= step <= 20 for step in steps)
    page.fill("input[name=q]", "no such text")
    assert count(page).startswith("Showing 0 of 241")
    assert page.locator("#nothing-found").is_visible()
    page.click("#reset")
    assert count(page).startswith("Showing 241 of 241")


def test_what_has_no_verdict_can_be_chosen(page: Any) -> None:
    page.select_option("select[name=severity]", "none")
    assert count(page).startswith("Showing 61 of 241")  # and the alarm's rollout


def test_search_takes_text_and_no_pattern(page: Any) -> None:
    page.fill("input[name=q]", "QUESTION 1-11")
    assert count(page).startswith("Showing 11 of 241")  # 11, and 110 to 119
    page.fill("input[name=q]", ".*")
    assert count(page).startswith("Showing 0 of 241")


def test_headings_sort_both_ways_and_say_so(page: Any) -> None:
    heading = page.locator("th[data-key=reward]")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    values = [float(value) for value in shown(page, "Reward")]
    assert values == sorted(values)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert float(page.locator("#rollouts td[data-label=Reward]").first.inner_text()) == pytest.approx(
        119 / 120, abs=1e-3
    )
    page.locator("th[data-key=severity] button").click()
    assert page.locator("[aria-sort]").count() == 1


def test_the_worst_rollouts_are_one_click_away(page: Any) -> None:
    page.get_by_role("link", name="Worst rollouts").click()
    page.wait_for_function("() => document.getElementById('rollouts-section').getBoundingClientRect().top < 200")
    severities = [text.removeprefix("✗ ") for text in shown(page, "Severity")]
    assert set(severities) == {"Unsafe"}
    unsafe = [float(value) for value in shown(page, "P(unsafe)")]
    assert unsafe == sorted(unsafe, reverse=True)
    page.click("#upper-next")
    assert page.input_value("#lower-page") == "2"
    assert "page=2" in page.url
    page.fill("#upper-page", "5")
    page.keyboard.press("Enter")
    assert "page=5" in page.url
    assert page.locator("#lower-next").is_disabled()
    assert "sort=worst" in page.url


def test_a_row_opens_and_the_back_button_closes_it(page: Any) -> None:
    page.fill("input[name=q]", "Answer number 17 ")
    page.locator("#rollouts tbody tr").first.click()
    dialog = page.locator("#detail")
    dialog.wait_for(state="visible")
    text = dialog.inner_text()
    for expected in (
        "hybrid · step 18",
        "user: Question 0-17",
        "Let me think.",
        "Answer number 17",
        "0.1417",
        "Advantage",
    ):
        assert expected in text
    assert re.search(r"rollout=hybrid/[0-9a-f]{8}", page.url)
    page.go_back()
    dialog.wait_for(state="hidden")
    assert count(page).startswith("Showing 2 of 241")  # the filter is still there


def test_a_link_shows_the_same_rollout_and_the_same_table(browser: Any, page: Any, page_path: Path) -> None:
    page.select_option("select[name=severity]", "Unsafe")
    page.locator("th[data-key=reward] button").click()
    page.locator("#rollouts tbody tr").nth(2).click()
    page.locator("#detail").wait_for(state="visible")
    title = page.locator("#detail-title").inner_text()
    rows = page.locator("#rollouts tbody").inner_text()
    with open_page(browser, page_path, "#" + page.url.partition("#")[2]) as other:
        other.page.locator("#detail").wait_for(state="visible")
        assert other.page.locator("#detail-title").inner_text() == title
        assert other.page.locator("#rollouts tbody").inner_text() == rows
        assert other.page.input_value("select[name=severity]") == "Unsafe"
        assert other.errors == []
    page.keyboard.press("Escape")


def test_a_run_with_a_slash_in_its_name_has_links_too(page: Any) -> None:
    page.select_option("select[name=run]", "guard/only")
    page.locator("#rollouts a").first.click()
    page.locator("#detail").wait_for(state="visible")
    assert page.locator("#detail-title").inner_text().startswith("guard/only · step 1")
    page.click("#next-rollout")
    page.locator("#detail-title", has_text="guard/only · step 2").wait_for()
    page.click("#close-detail")
    wait_for_the_table_alone(page)
    assert "rollout=" not in page.url


def test_an_alarm_leads_to_its_rollout(page: Any) -> None:
    page.locator("#alarms a").first.click()
    page.locator("#detail").wait_for(state="visible")
    assert "second_guard" in page.locator("#detail-body").inner_text()
    page.keyboard.press("Escape")
    wait_for_the_table_alone(page)
    assert page.evaluate("document.activeElement.closest('#alarms') !== null")


@pytest.mark.parametrize("fragment", ["#run=hybrid&from=21&severity=Unsafe", "#sort=worst", "#category=Violent"])
def test_a_link_with_filters_leads_to_the_table(browser: Any, page_path: Path, fragment: str) -> None:
    with open_page(browser, page_path, fragment) as visit:
        top = "() => document.getElementById('rollouts-section').getBoundingClientRect().top"
        visit.page.wait_for_function(f"() => Math.abs(({top})()) < 200")
        visit.page.reload()  # a page that is read again stays where it was
        assert visit.errors == []


def test_a_closed_rollout_of_a_link_is_in_sight(browser: Any, page: Any, page_path: Path) -> None:
    page.click("#upper-next")
    page.locator("#rollouts a").nth(7).click()
    page.locator("#detail").wait_for(state="visible")
    address = page.url.partition("rollout=")[2]
    page.keyboard.press("Escape")
    wait_for_the_table_alone(page)
    page.click("#reset")
    with open_page(browser, page_path, f"#rollout={address}") as visit:
        visit.page.keyboard.press("Escape")
        wait_for_the_table_alone(visit.page)
        assert visit.page.input_value("#upper-page") == "2"
        top = visit.page.evaluate("document.activeElement.getBoundingClientRect().top")
        assert 0 < top < 900
        assert visit.page.evaluate("document.activeElement.closest('#rollouts') !== null")


def test_a_category_and_a_label_filter(browser: Any, tmp_path: Path) -> None:
    rows = [{**row, "guard_harmful": number % 2 == 0} for number, row in enumerate(rollouts(8))]
    rows[2]["guard_categories"] = "PII, Violent"
    path = write_runs_page(tmp_path / "report.html", [Run("run", "runs", rollouts=rows, rollout_total=8)], title="Two")
    with open_page(browser, path, "#prompt=harmful") as visit:
        page = visit.page
        assert set(shown(page, "Prompt is")) == {"harmful"}
        assert count(page).startswith("Showing 4 of 8")
        page.select_option("select[name=category]", "Violent")
        assert shown(page, "Categories") == ["PII, Violent"]
        page.select_option("select[name=prompt]", "benign")
        assert count(page).startswith("Showing 2 of 8")
        page.fill("input[name=from]", "9")
        page.fill("input[name=to]", "3")
        assert page.locator("#range-hint").is_visible()
        assert visit.errors == []


def test_a_categorys_name_leads_to_its_rollouts(page: Any) -> None:
    page.locator("#categories figcaption a").first.click()
    assert page.input_value("select[name=category]") == "Violent"
    assert page.input_value("select[name=run]") == "hybrid"
    assert count(page).startswith("Showing 30 of 241")


def test_a_charts_point_leads_to_its_rollouts(page: Any) -> None:
    page.locator("#curves-0").scroll_into_view_if_needed()
    page.wait_for_selector("#curves-0 .main-svg")
    box = page.locator("#curves-0").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.wait_for_selector("#curves-0 .hoverlayer .legend")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 100)
    page.wait_for_function("() => location.hash.includes('from=')")
    step = page.input_value("input[name=from]")
    assert step == page.input_value("input[name=to]")
    assert set(shown(page, "Step")) == {step}


def wait_for_another_title(page: Any, title: str, act: Callable[[], None]) -> str:
    """The open rollout's title after an action: the page follows its address a moment later."""
    act()
    page.wait_for_function("old => document.getElementById('detail-title').textContent !== old", arg=title)
    return page.locator("#detail-title").inner_text()


def test_arrow_keys_and_other_answers(browser: Any, tmp_path: Path) -> None:
    rows = [{**row, "step": 1, "prompt": "The same"} for row in rollouts(3)]
    path = write_runs_page(
        tmp_path / "report.html", [Run("run", "runs", rollouts=rows, rollout_total=3)], title="Three"
    )
    with open_page(browser, path) as visit:
        page = visit.page
        first = wait_for_another_title(page, "", lambda: page.locator("#rollouts a").first.click())
        second = wait_for_another_title(page, first, lambda: page.keyboard.press("ArrowRight"))
        assert wait_for_another_title(page, second, lambda: page.keyboard.press("ArrowLeft")) == first
        page.keyboard.press("ArrowLeft")  # there is none before the first
        assert wait_for_another_title(page, first, lambda: page.locator("#detail-body a").first.click()) == second
        assert visit.errors == []


def test_a_link_to_a_rollout_that_is_not_here_says_so(page: Any) -> None:
    page.evaluate("location.hash = '#rollout=hybrid/00000000'")
    page.locator("#not-here").wait_for(state="visible")
    assert page.locator("#detail").is_hidden()
    page.evaluate("location.hash = '#curves'")  # a section's name changes nothing in the table
    assert page.locator("#not-here").is_visible()


def test_the_link_is_copied_or_shown(page: Any) -> None:
    page.locator("#rollouts a").first.click()
    page.locator("#detail").wait_for(state="visible")
    address = page.url.partition("#")[2]
    page.click("#copy-link")
    page.wait_for_function(
        "() => document.getElementById('copied').textContent || !document.getElementById('detail-link').hidden"
    )
    if page.locator("#detail-link").is_visible():
        assert page.input_value("#detail-link").endswith(address)
    page.keyboard.press("Escape")


def test_keyboard_alone(browser: Any, page_path: Path) -> None:
    with open_page(browser, page_path) as visit:
        page = visit.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.locator("input[name=q]").focus()
        reached = [tab(page)]
        while reached[-1] != "A" and len(reached) < 40:
            reached.append(tab(page))
        order = [name for name, _ in itertools.groupby(reached)]
        assert order[:8] == ["run", "severity", "category", "outcome", "refusal", "from", "to", "worst"]
        assert order[-1] == "A"  # the first rollout's link
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        name = page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        page.locator("#detail").wait_for(state="visible")
        page.keyboard.press("Escape")
        wait_for_the_table_alone(page)
        assert page.evaluate("document.activeElement.textContent") == name  # where the reader was
        assert visit.errors == []


def tab(page: Any) -> str:
    """What the next press of the tab key reaches."""
    page.keyboard.press("Tab")
    return page.evaluate("(({ name, id, tagName }) => name || id || tagName)(document.activeElement)")


def test_a_running_page_reads_itself_again_and_keeps_the_readers_place(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_runs_page(path, two_runs(), title="First", refresh_seconds=1)
    with open_page(browser, path) as visit:
        page = visit.page
        page.select_option("select[name=severity]", "Unsafe")
        page.locator("th[data-key=reward] button").click()
        page.locator("#all-settings summary").click()
        page.locator("[data-toggles-run='1']").click()
        page.locator("#rollouts tbody tr").nth(1).click()
        page.locator("#detail").wait_for(state="visible")
        title, address = page.locator("#detail-title").inner_text(), page.url
        top = page.evaluate("scrollY")
        assert top > 500
        write_runs_page(path, two_runs(140), title="Second")  # finished: it does not read itself any more
        page.wait_for_function("() => document.title === 'Second'", timeout=15_000)
        page.wait_for_function("() => document.getElementById('detail')?.open")
        assert page.locator("#detail-title").inner_text() == title
        assert page.url == address
        assert page.input_value("select[name=severity]") == "Unsafe"
        assert page.locator("th[data-key=reward]").get_attribute("aria-sort") == "ascending"
        assert page.locator("#all-settings").get_attribute("open") is not None
        assert page.locator("[data-toggles-run='1']").get_attribute("aria-pressed") == "false"
        assert abs(page.evaluate("scrollY") - top) < 100
        assert (visit.requests, visit.errors) == ([], [])


def test_a_reader_who_types_or_pauses_is_left_alone(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_runs_page(path, two_runs(8), title="First", refresh_seconds=1)
    with open_page(browser, path) as visit:
        page = visit.page
        page.evaluate("globalThis.same = true")
        page.locator("input[name=q]").press_sequentially("Quest", delay=10)
        page.wait_for_timeout(1600)
        assert page.evaluate("globalThis.same")  # five seconds after the last key it would be read again
        page.click("#pause")
        assert page.locator("#pause").get_attribute("aria-pressed") == "true"
        page.clock.install()
        page.clock.fast_forward(60_000)
        page.wait_for_timeout(700)
        assert page.evaluate("globalThis.same")


def test_hostile_texts_do_not_run_in_any_field(browser: Any, tmp_path: Path) -> None:
    """Each text in each field that comes from outside, on one page: all is opened, sorted, searched, hovered."""
    runs = [hostile_run(text, f"{text} {number}") for number, text in enumerate(ATTACKS)]
    names = [(text, [text] * len(runs)) for text in ATTACKS]
    path = write_runs_page(tmp_path / "report.html", runs, title=ATTACKS[1], summary=ATTACKS, differences=names)
    with open_page(browser, path) as visit:
        page = visit.page
        elements = page.evaluate("document.querySelectorAll('script').length")
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        for top in range(0, page.evaluate("document.documentElement.scrollHeight"), 800):
            page.evaluate(f"scrollTo(0, {top})")
            page.wait_for_timeout(15)
        for link in page.locator("#rollouts a").all()[:30]:
            link.evaluate("link => link.click()")
            assert page.locator("#detail").is_visible()
            page.keyboard.press("Escape")
        for text in ATTACKS:
            page.fill("input[name=q]", text)
        for button in page.locator("#rollouts thead button").all():
            button.click()
        page.locator("#plane-0").hover()
        page.locator("#curves-0").hover()
        assert page.evaluate("globalThis.attacked === undefined && Object.prototype.attacked === undefined")
        # Nothing was added that could act later, and nothing left the page.
        assert page.evaluate("document.querySelectorAll('script').length") == elements
        assert page.locator("iframe, img, base, object, embed, link, meta[http-equiv=refresh]").count() == 0
        handlers = """[...document.querySelectorAll("*")]
          .flatMap((element) => [...element.attributes]).filter(({ name }) => /^on|^srcdoc$/i.test(name)).length"""
        assert page.evaluate(handlers) == 0
        assert page.evaluate("[...document.links].every((link) => link.protocol === 'file:')")
        assert (visit.requests, visit.errors) == ([], [])


def test_hostile_fragments_do_nothing(page: Any) -> None:
    for fragment in (
        "#rollout=<img src=x onerror=globalThis.attacked=1>",
        "#sort=__proto__&page=-5",
        "#page=1e9&q=%",
        "#severity=none&x=%00",
    ):
        page.evaluate("fragment => { location.hash = fragment }", fragment)
        page.wait_for_timeout(30)
    assert page.evaluate("globalThis.attacked === undefined")
    page.evaluate("location.hash = ''")
    assert count(page).startswith("Showing 241 of 241")


def test_a_megabyte_of_text_opens(browser: Any, tmp_path: Path) -> None:
    rows = rollouts(3)
    rows[0]["completion"] = "x" * 1_000_000
    run = Run("run", "runs", rollouts=rows, rollout_total=3)
    with open_page(browser, write_runs_page(tmp_path / "report.html", [run], title="Long")) as visit:
        visit.page.locator("#rollouts a").first.click()
        answer = visit.page.locator("#detail pre").last
        assert len(answer.inner_text()) == 3000
        visit.page.get_by_role("button", name=re.compile("Show all")).click()
        assert "980,000 more characters" in answer.inner_text()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert visit.errors == []
