"""The report in a real headless Chromium."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from espalier.evaluators.objectives import Constraint
from espalier.reports.comparison import compare
from espalier.reports.html_report import render_report
from espalier.reports.picks import answer
from espalier.reports.trials_csv import trials_csv
from espalier.search.run_folder import open_run

pytestmark = pytest.mark.browser

CHARTS = ("front-chart", "latency-chart", "rung-chart", "hypervolume-chart")
INJECTION = "</script><script>window.injected = 1</script><img src=x onerror='window.injected = 2'>"


CONTRASTS = """() => {
  const value = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
  const luminance = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => {
    const [x, y] = [a, b].map((name) => luminance(value(name)) + 0.05);
    return Math.max(x / y, y / x);
  };
  return ['ink', 'muted', 'accent', 'worse'].flatMap((ink) =>
    ['page', 'surface', 'soft', 'accent-soft'].map((ground) => [ink, ground, ratio(ink, ground)]));
}"""
"""Contrast of each text colour on each background, as WCAG 2 defines it."""


class Page:
    """A page of the browser that notes what it asks for and complains about."""

    def __init__(
        self, browser: Any, path: Path, *, width: int = 1280, scheme: str = "light", chart: str = CHARTS[0]
    ) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        if chart:
            self.page.wait_for_selector(f"#{chart} .main-svg")

    def visible_trials(self) -> list[int]:
        rows = self.page.locator("#front-table tbody tr:visible")
        return [int(rows.nth(i).get_attribute("data-trial")) for i in range(rows.count())]

    def ask(self, wish: str, value: str) -> None:
        self.page.fill(f"#wish-{wish}", value)

    def answer(self) -> str:
        return self.page.inner_text("#answer")

    def wait(self, expression: str) -> None:
        """Wait for ``expression``; Playwright's own way is an eval in the page, which the report forbids."""
        for _ in range(1200):  # at once on an idle machine; the suite may run beside other work
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"{expression} did not come true within a minute")

    def background(self) -> str:
        return self.page.evaluate("getComputedStyle(document.body).backgroundColor")

    def overflow(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture(scope="module")
def report(known_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_report(known_run, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def opened(browser: Any, report: Path) -> Iterator[Page]:
    page = Page(browser, report)
    yield page
    page.context.close()


@pytest.fixture
def page(opened: Page) -> Page:
    """The report as it opens, but for the table's order: to load it anew for each test takes seconds."""
    opened.page.emulate_media(media="screen", color_scheme="light")
    opened.page.evaluate("delete document.documentElement.dataset.theme")
    for wish, start in (("drop", "1"), ("latency_ms", "0.5"), ("size_bytes", "300")):
        opened.ask(wish, start)
    return opened


def test_it_opens_with_one_point_of_accuracy_to_lose(opened: Page) -> None:
    assert opened.page.get_attribute("#wish-drop", "value") == "1.0"
    assert opened.page.get_attribute("#wish-size_bytes", "value") == "300"


def test_the_report_goes_into_the_run_folder_unless_told(runs: ModuleType, tmp_path: Path) -> None:
    run = runs.write_run(tmp_path / "run")
    assert render_report(run) == tmp_path / "run" / "report.html"
    assert (tmp_path / "run" / "report.html").stat().st_size < 6_000_000


def test_it_loads_nothing_and_complains_about_nothing(page: Page, report: Path) -> None:
    page.page.wait_for_load_state("networkidle")
    assert page.requests == [report.as_uri()]
    assert page.complaints == []


def test_all_charts_are_drawn(page: Page) -> None:
    for chart in CHARTS:
        assert page.page.locator(f"#{chart} svg.main-svg").count() > 0
    assert page.page.locator("#front-chart .scatterlayer .point").count() >= 5 + 1 + 1 + 1
    assert page.page.locator("#kept .bar").count() == 5
    assert page.page.locator("#layers .bar").count() == 5


def test_the_finder_works_by_keyboard(page: Page) -> None:
    assert sorted(page.visible_trials()) == [0, 1]
    page.page.focus("#wish-drop")
    page.page.keyboard.press("Control+A")
    page.page.keyboard.type("2")
    assert sorted(page.visible_trials()) == [0, 1, 2, 8]
    assert page.answer().startswith("Trial 8 answers")
    page.page.keyboard.press("Tab")  # on to the slider of the same wish
    assert page.page.evaluate("document.activeElement.dataset.range") == "drop"
    page.page.keyboard.press("End")
    assert page.page.input_value("#wish-drop") == "8"
    assert page.answer().startswith("Trial 3 answers")
    assert "--pick 3 " in page.page.inner_text("#answer-command code")


def test_the_finder_names_the_nearest_where_none_answers(page: Page) -> None:
    page.ask("drop", "2")
    page.ask("latency_ms", "0.18")
    assert page.answer().startswith("None answers. The nearest is trial 8, which misses maximal latency by 0.01 ms")
    assert page.visible_trials() == [8]
    page.page.click("#no-limits")
    assert [page.page.input_value(f"#wish-{wish}") for wish in ("drop", "latency_ms", "size_bytes")] == ["", "", ""]
    assert sorted(page.visible_trials()) == [0, 1, 2, 3, 8]


def test_the_finder_and_the_command_give_the_same_answer(page: Page, known_run: Any) -> None:
    page.ask("size_bytes", "150")
    for drop, latency in itertools.product((0, 0.4, 0.5, 1.5, 1.9, 2, 5, 8), (0.09, 0.15, 0.2, 0.3, 0.5)):
        page.ask("drop", str(drop))
        page.ask("latency_ms", str(latency))
        wishes = [Constraint.parse(f"latency_ms<={latency}"), Constraint.parse("size_bytes<=150KiB")]
        found = answer(known_run, max_drop=drop / 100, constraints=wishes)
        assert found.nearest is not None
        text = page.answer()
        assert text.startswith("Trial") is found.answered, (drop, latency)
        assert f"rial {found.nearest.trial}" in text, (drop, latency)


def test_the_table_sorts_by_its_buttons(page: Page) -> None:
    page.page.click("#no-limits")
    button = page.page.locator("button.sort[data-column=accuracy]")
    button.focus()
    page.page.keyboard.press("Enter")
    assert page.visible_trials() == [3, 8, 2, 1, 0]
    assert button.locator("xpath=..").get_attribute("aria-sort") == "ascending"
    page.page.keyboard.press("Enter")
    assert page.visible_trials() == [0, 1, 2, 8, 3]


def test_another_configuration_can_be_shown(page: Page) -> None:
    assert page.page.locator("#kept .number").first.inner_text() == "8 of 16"
    page.page.select_option("#member", label="Trial 3 \u2013 Fastest, smallest")
    assert page.page.locator("#kept .number").first.inner_text() == "4 of 16"


def test_points_far_from_the_front_can_be_brought_into_view(page: Page) -> None:
    bottom = "document.getElementById('front-chart').layout.yaxis.range"
    assert page.page.evaluate(bottom)[0] > 0.55
    page.page.click("#zoom-all")
    page.wait(f"{bottom}[0] < 0.55")


def test_copying_says_so(page: Page) -> None:
    button = page.page.locator("#reproduce button.copy").first
    button.click()
    # The page is shared: an earlier test's message may still stand there.
    page.wait("['Copied', 'Select and copy'].includes(document.getElementById('status').textContent)")


def test_every_control_has_a_name_and_headings_go_down_by_one(page: Page) -> None:
    unnamed = page.page.evaluate(
        """[...document.querySelectorAll('button, input, select')].filter((e) =>
           !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length))).length"""
    )
    assert unnamed == 0
    levels = page.page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_nothing_overflows_the_page(browser: Any, report: Path) -> None:
    page = Page(browser, report, width=375)
    for width in (375, 320, 768, 1280):
        page.page.set_viewport_size({"width": width, "height": 900})
        page.wait("document.querySelector('#front-chart .main-svg').clientWidth <= innerWidth")
        page.wait("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert page.overflow() == 0, width
    page.context.close()


def test_dark_mode_follows_the_system_and_the_button(browser: Any, report: Path, page: Page) -> None:
    dark = Page(browser, report, scheme="dark")
    assert dark.background() != page.background()
    axis = "getComputedStyle(document.querySelector('#front-chart .xtick text')).fill"
    before = page.page.evaluate(axis)
    page.page.click("#theme")
    assert page.background() == dark.background()
    assert page.page.get_attribute("#theme", "aria-pressed") == "true"
    assert page.page.evaluate(axis) == dark.page.evaluate(axis) != before
    dark.context.close()


def test_text_stands_out_from_its_background(page: Page) -> None:
    for scheme in ("light", "dark"):
        page.page.emulate_media(color_scheme=scheme)
        ratios = page.page.evaluate(CONTRASTS)
        assert len(ratios) == 16
        assert [r for r in ratios if r[2] < 4.5] == [], scheme


def test_what_a_user_named_stays_text(browser: Any, runs: ModuleType, tmp_path: Path) -> None:
    summary = runs.FrozenSummary("fc", 10, ("fc",), INJECTION)
    trials = [*runs.TRIALS, runs.Trial(reason=INJECTION)]
    run = runs.write_run(tmp_path / "run", name=INJECTION, frozen=(summary,), trials=trials)
    page = Page(browser, render_report(run))
    assert page.page.evaluate("window.injected") is None
    assert page.page.inner_text("h1") == INJECTION
    assert INJECTION in page.page.inner_text("#removed")
    assert INJECTION in page.page.inner_text("#search")
    assert page.complaints == []
    assert len(page.requests) == 1
    page.context.close()


@pytest.mark.parametrize("case", ["no trials", "no feasible trial", "no final numbers", "one trial"])
def test_a_run_that_is_not_finished_can_be_reported(browser: Any, runs: ModuleType, tmp_path: Path, case: str) -> None:
    options: dict[str, Any] = {
        "no trials": {"trials": ()},
        "no feasible trial": {"constraints": ("latency_ms<=0.01",)},
        "no final numbers": {},
        "one trial": {"trials": runs.TRIALS[:1]},
    }[case]
    page = Page(browser, render_report(runs.write_run(tmp_path / "run", final=None, **options)))
    assert page.complaints == []
    assert page.overflow() == 0
    assert "not measured" in page.page.inner_text("body").lower()
    page.context.close()


def test_print_shows_all_rows_and_no_controls(page: Page) -> None:
    page.page.emulate_media(media="print")
    assert not page.page.is_visible("#finder")
    assert sorted(page.visible_trials()) == [0, 1, 2, 3, 8]
    assert page.page.pdf(format="A4").startswith(b"%PDF")


def test_a_comparison_is_drawn_too(browser: Any, runs: ModuleType, known_run: Any, tmp_path: Path) -> None:
    other = runs.write_run(tmp_path / "<b>other", trials=runs.TRIALS[:4], final=None)
    path = compare([known_run, other]).write_html(tmp_path / "comparison.html")
    page = Page(browser, path, chart="compare-chart", width=375)
    assert page.complaints == []
    assert page.requests == [path.as_uri()]
    assert page.overflow() == 0
    assert page.page.locator("#compare-chart .scatterlayer .trace").count() == 6
    assert "<b>other" in page.page.inner_text("table")
    page.context.close()


def test_a_real_search_is_reported_compared_and_picked_from(browser: Any, tiny_run: Path, tmp_path: Path) -> None:
    run = open_run(tiny_run)
    page = Page(browser, render_report(run, tmp_path / "report.html"))
    assert page.complaints == []
    assert page.overflow() == 0
    for chart in CHARTS:
        assert page.page.locator(f"#{chart} svg.main-svg").count() > 0
    page.page.click("#no-limits")
    assert sorted(page.visible_trials()) == sorted(c.trial for c in run.front.configurations)
    assert page.page.locator("#kept .bar").count() == len(run.graph_summary.groups)
    assert "not measured" not in page.page.inner_text("#gain").lower()
    page.context.close()

    fastest = answer(run).configuration
    assert fastest is not None
    assert "fastest" in fastest.tags
    entries = compare([run, open_run(tiny_run)]).entries
    assert entries[0].hypervolume == entries[1].hypervolume == pytest.approx(run.front.hypervolume)
    assert trials_csv(run).count("\n") == len(run.trials) + 1
