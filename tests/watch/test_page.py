"""The page in a real Chromium, before a server that speaks as the watch server does, with invented facts.

Every page of these tests must have asked nothing but its own server, and complained of nothing, when its test ends.
"""

import json
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from tests.watch import invented
from tests.watch.chromium import Chromium, Page, chromium
from tests.watch.fake import FakeWatch
from tests.watch.invented import Bandit, gain

pytestmark = pytest.mark.browser

MINUS = "\N{MINUS SIGN}"
SCRIPT = "<script>hit = 1</script><img src=x onerror='hit = 2'>"
RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627"
LONG = "a-very-long-name-" * 12
WIDTHS = (1280, 390)
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as started:
        yield started


@pytest.fixture
def servers() -> Iterator[list[FakeWatch]]:
    """Those that a test started: they end with it."""
    started: list[FakeWatch] = []
    yield started
    for server in started:
        server.close()


@pytest.fixture
def opened(browser: Chromium, servers: list[FakeWatch]) -> Iterator[Open]:
    """Opens a view of a server in a tab of its own."""
    pages: list[tuple[Page, str]] = []

    def open_view(server: FakeWatch, view: str = "desk", **emulated: object) -> Page:
        if server not in servers:
            servers.append(server)
        page = Page(browser, **emulated)  # type: ignore[arg-type]
        page.open(f"{server.address}#/{view}")
        pages.append((page, server.address))
        return page

    yield open_view
    for page, address in pages:
        assert [url for url in page.requests if not url.startswith((address, f"blob:{address}"))] == []
        assert page.complaints == []
        page.close()


def names(page: Page) -> list[str]:
    return list(page.evaluate("[...document.querySelectorAll('.desk .open')].map(link => link.textContent)"))


def text(page: Page, selector: str) -> str:
    found = page.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText.replaceAll('\\u202f', ' ')")
    assert found is not None, selector
    return str(found)


def row(page: Page, bandit_id: str) -> str:
    selector = f'tr[data-id="{bandit_id}"]'
    page.until(f"document.querySelector('{selector}')")
    return " ".join(text(page, selector).split())


# The desk


def test_a_row_says_what_has_weight_and_whether_learning_earns(opened: Open) -> None:
    heavy = Bandit(
        "alpha",
        arms=("ridge", "carry"),
        weights=[0.75, 0.25],
        effective_models=1.6,
        above_uniform=gain(0.62, 0.14),
        day={"count": 40, "mean_bps": 1.25, "sum_bps": 50.0},
        ever={"count": 1000, "mean_bps": -0.5, "sum_bps": -500.0},
        bound_bps=60.0,
        clipped_share=0.031,
    )
    even = Bandit("beta", above_uniform=gain(-0.05, 0.15))
    worse = Bandit("gamma", above_uniform=gain(-0.9, 0.2))
    page = opened(FakeWatch([heavy, even, worse, Bandit("delta", above_uniform=None)]))
    says = row(page, "alpha")
    parts = ["ridge 75 % carry 25 %", "1.6 of 2", "▲+0.62 ± 0.14", "+620.0 in all", "+1.25 day", f"{MINUS}0.50 ever"]
    for part in (*parts, "60 3 % clipped"):
        assert part.replace(" ", "") in says.replace(" ", ""), (part, says)
    assert "ridge 28 → 29 %clipped to 60" in says
    assert "ago · ridge lost 1,033.9 bps" in says
    ends = "[...document.querySelectorAll('.scale span')].map(it => it.textContent)"
    assert page.evaluate(ends) == [f"{MINUS}1.5", "0", "+1.5"]
    beyond = "import('/assets/bandits.js').then(it => { const one = new it.IntervalMark(); one.set(INTERVAL, 1); "
    beyond += "return [...one.element.querySelectorAll('.beyond')].map(it => it.getAttribute('visibility')); })"
    below, within = json.dumps(gain(-0.9, 0.2)), json.dumps(gain(-0.7, 0.2))
    assert page.evaluate(beyond.replace("INTERVAL", below)) == [None, "hidden"], "it goes on below -1"
    assert page.evaluate(beyond.replace("INTERVAL", within)) == ["hidden", "hidden"]
    assert "≈" in row(page, "beta")
    assert "▼" in row(page, "gamma")
    assert "no estimate yet" in row(page, "delta")
    choices = text(page, ".choices").split()
    assert " ".join(choices).startswith("All 4 ▲ Above uniform 1 ≈ Not told apart 1 ▼ Below uniform 1 No estimate 1")


def test_rows_are_ordered_by_a_column_with_the_unknown_last_and_filtered_by_name(opened: Open) -> None:
    gains = {"a": 0.2, "b": None, "c": 1.1, "d": -0.4}
    page = opened(FakeWatch([Bandit(name, above_uniform=value and gain(value, 0.1)) for name, value in gains.items()]))
    page.until("document.querySelectorAll('.desk .open').length === 4")
    assert names(page) == ["a", "b", "c", "d"]
    heading = "[...document.querySelectorAll('.sort')].find(one => one.textContent.startsWith('Above uniform'))"
    page.click(heading)
    assert names(page) == ["c", "a", "d", "b"]
    assert page.evaluate(f"{heading}.closest('th').getAttribute('aria-sort')") == "descending"
    page.click(heading)
    assert names(page) == ["d", "a", "c", "b"]
    page.press("/")
    for letter in "zz":
        page.press(letter)
    assert "No bandit matches" in text(page, ".empty")
    page.click("document.querySelector('.empty button')")
    assert len(names(page)) == 4


def test_no_row_moves_while_the_keyboard_is_in_the_table(opened: Open) -> None:
    server = FakeWatch([Bandit("a", above_uniform=gain(2, 0.1)), Bandit("b", above_uniform=gain(1, 0.1))])
    page = opened(server)
    page.until("document.querySelectorAll('.desk .open').length === 2")
    page.click("[...document.querySelectorAll('.sort')].find(one => one.textContent.startsWith('Above uniform'))")
    page.evaluate("document.querySelector('.desk .open').focus()")
    page.evaluate("(now => { performance.now = () => now() + 6000; })(performance.now.bind(performance))")  # it is due
    server.send("rows", {"bandits": [Bandit("b", above_uniform=gain(3, 0.1)).row()]})
    page.until("document.querySelector(\"tr[data-id='b']\").textContent.includes('+3.00')")
    assert names(page) == ["a", "b"]
    assert page.evaluate("document.activeElement.textContent") == "a"


def test_the_keyboard_opens_a_bandit_and_comes_back_to_its_row(opened: Open) -> None:
    page = opened(FakeWatch(invented.desk()))
    page.until("document.querySelectorAll('.desk .open').length === 9")
    page.evaluate("document.querySelector('.desk .open').focus()")
    page.press("ArrowDown")
    page.press("Enter")
    page.until("document.querySelector('h1')?.textContent === 'energy'")
    assert page.evaluate("location.hash") == "#/bandit/energy"
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.press("Escape")
    page.until("document.activeElement.matches('.desk .open')")  # the page's heading has the same text
    assert page.evaluate("document.activeElement.textContent") == "energy"
    assert page.evaluate("location.hash") == "#/desk"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_a_bandit_that_appears_gets_a_row_and_one_that_goes_loses_it(opened: Open) -> None:
    server = FakeWatch([Bandit("a")])
    page = opened(server)
    row(page, "a")
    server.add(Bandit("b"))
    row(page, "b")
    server.send("gone", {"bandits": ["a"]})
    page.until("!document.querySelector(\"tr[data-id='a']\")")


@pytest.mark.parametrize(
    ("pulse", "says"),
    [
        (invented.pulse(state="reading", progress={"read": 30, "of": 120}), "30 of 120 rewards (25 %)"),
        (invented.pulse(state="no-records", last_record_ts=None), "A bandit is made by its first fill."),
        (invented.pulse(state="no-broker", text="Check that it runs."), "Kafka does not answer\n\nCheck that it runs."),
    ],
    ids=["reading", "no-records", "no-broker"],
)
def test_an_empty_desk_says_why_and_what_to_do(opened: Open, pulse: dict[str, object], says: str) -> None:
    server = FakeWatch([])
    server.pulse = pulse
    page = opened(server)
    page.until(f"document.querySelector('.empty')?.innerText.replaceAll('\\u202f', ' ').includes({says!r})")


def test_the_page_says_that_the_server_went_and_shows_what_it_has_when_it_is_back(opened: Open) -> None:
    server = FakeWatch([Bandit("before")])
    page = opened(server)
    row(page, "before")
    server.close()
    page.until("document.getElementById('banner').innerText.includes('No connection')")
    assert "2026-11-28 14:32:07 UTC" in text(page, "#banner")
    assert "before" in names(page)
    again = FakeWatch([Bandit("after")], server.port)
    try:
        row(page, "after")
        page.until("document.getElementById('banner').hidden")
        assert names(page) == ["after"]
    finally:
        again.close()
    assert all("Failed to load resource" in one or "ERR_" in one for one in page.complaints)
    page.complaints.clear()


# One bandit


def test_a_bandit_shows_its_charts_in_words_its_marks_its_arms_and_asks_why_on_a_click_only(opened: Open) -> None:
    server = FakeWatch(invented.desk())
    page = opened(server, "bandit/us-equities")
    page.until("document.querySelectorAll('.chart canvas').length === 4")
    labels = page.evaluate(
        "[...document.querySelectorAll('.chart .canvas')].map(one => one.getAttribute('aria-label'))"
    )
    assert labels[0].startswith("Weights over time. From 2026-10-29 14:32:07 UTC to 2026-11-28 08:32:07 UTC: lightgbm")
    assert "95 % interval from" in labels[1]
    says = text(page, ".says")
    assert "About 3.40 bps a trade below its best model, ridge (estimated)." in says
    assert "leader since" in says
    tiles = text(page, ".figures")
    assert "41,290\n41,210 learned from + 80 withheld (warming up)" in tiles, tiles
    ends = page.evaluate("[...document.querySelectorAll('.chart .value')].map(one => one.textContent)")
    assert page.evaluate("document.querySelector('.figures dd').firstChild.textContent") in ends
    assert page.evaluate("document.querySelectorAll('.rewards [rowspan=\"3\"]').length") == 10, "a time and a move each"
    assert "transformer added by an operator" in text(page, ".marks")
    weights = page.evaluate(
        "[...document.querySelectorAll('.arms tbody tr')].map(it => parseFloat(it.cells[1].innerText.replace('<', '')))"
    )
    assert weights == sorted(weights, reverse=True)
    assert "12 rewards (no propensity was logged)" in text(page, ".left-out")
    assert not any("explain" in asked for asked in server.asked)
    page.click("document.querySelector('.why')")
    page.until("document.querySelector('.formula')")
    assert "/explain?id=us-equities&version=48213" in server.asked
    for part in (
        "SELL 400 AAPL",
        "1/2 - (-33.9) / (2 · 60)",
        f"{MINUS}32.0 bps",
        "0.7826",
    ):
        assert part in text(page, ".explained")


def test_a_bandit_that_nobody_knows_is_said_to_be_unknown(opened: Open) -> None:
    page = opened(FakeWatch([Bandit("a")]), "bandit/nobody")
    page.until("document.querySelector('.empty')?.innerText.includes('knows no bandit of this name')")
    assert [one for one in page.complaints if "404" not in one] == []
    page.complaints.clear()


# Operate and compare


def test_operate_shows_the_red_alert_first_with_its_remedy_and_dead_letters_whole(opened: Open) -> None:
    server = FakeWatch(invented.desk())
    server.operate = invented.operate(
        [
            {"name": "ArmstreamDeadLetters", "severity": "amber", "text": "3 came.", "remedy": "List them."},
            {"name": "ArmstreamNoCommit", "severity": "red", "text": "No commit for 3 min.", "remedy": "Restart it."},
        ]
    )
    page = opened(server, "operate")
    page.until("document.querySelector('.alert')")
    lags = "[...document.querySelectorAll('.most-first tbody tr')].map(it => Number(it.cells[1]?.textContent))"
    assert page.evaluate(f"{lags}.slice(0, 8).reduce((sum, lag) => sum + lag)") == 36
    assert "36 records" in text(page, ".figures")
    assert text(page, ".pulse .lag").split() == ["lag", "36"]
    assert text(page, ".pulse .events").split() == ["events", "203/s"], "the sum of the processors'"
    assert "2 alerts stand: 2 rules looked at 2 s ago" in text(page, ".rules")
    assert "Do: Look at the sender's clock." in text(page, ".letters summary")
    assert text(page, ".alert").split("\n")[0] == "Alert ArmstreamNoCommit"
    assert "Restart it." in text(page, ".alert")
    assert page.evaluate("document.title").startswith("(1)")
    page.click("document.querySelector('.letters summary')")
    assert '{"event_id": "e-17", "quantity": 100}' in text(page, ".letters [open]")
    assert "trades:1:181000" in text(page, ".letters [open]")
    page.evaluate("location.hash = '#/desk'")
    page.until("document.getElementById('banner').innerText.includes('No commit for 3 min. Restart it.')")


def test_compare_puts_two_arms_side_by_side_at_an_address_of_their_own(opened: Open) -> None:
    page = opened(FakeWatch(invented.desk()), "compare?a=us-equities&b=eu-equities")
    page.until("document.querySelectorAll('.chart canvas').length === 4")
    assert "bps a trade more than" in text(page, ".says")
    choose = "(one => { one.value = 'ridge'; one.dispatchEvent(new Event('change')); })"
    page.evaluate(f"[...document.querySelectorAll('.side select')].forEach({choose})")
    assert page.evaluate("location.hash") == "#/compare?a=us-equities&arm_a=ridge&b=eu-equities&arm_b=ridge"
    page.until("document.querySelector('.facts-table').innerText.includes('Weight now')")
    assert page.evaluate("[...document.querySelectorAll('.chart')].filter(one => one.clientWidth).length") == 2


# Hostile names


@pytest.mark.parametrize("name", [SCRIPT, LONG, RIGHT_TO_LEFT, "=1+1", "\u202egnp.exe", "a/b?c#d%e"])
def test_a_hostile_name_is_text_in_every_view(opened: Open, name: str) -> None:
    bandit = Bandit(name, arms=(name, "ridge", "carry"))
    page = opened(FakeWatch([bandit]))
    page.until("document.querySelector('.desk .open')")
    assert names(page) == [name]
    page.click("document.querySelector('.desk .open')")
    page.until("document.querySelectorAll('.chart canvas').length === 4")
    assert page.evaluate("document.querySelector('h1').textContent") == name
    for view in ("operate", f"compare?a={quote(name)}&arm_a={quote(name)}"):
        page.evaluate(f"location.hash = '#/{view}'")
        page.until(f"document.getElementById('main').dataset.view === {view.split('?')[0]!r}")
    page.until("document.querySelector('.facts-table tbody tr')")
    assert page.evaluate("document.querySelector('main script, main img, main iframe')") is None
    assert page.evaluate("typeof hit") == "undefined"


def test_a_cell_that_a_spreadsheet_would_take_for_a_formula_is_text(opened: Open) -> None:
    page = opened(FakeWatch([]))
    csv = page.evaluate(
        "import('/assets/csv.js').then(it => it.csvOf([['=1+1', '@x', '-a', -1.5, 'a,\"b\"', null, '\\tq']]))"
    )
    assert csv == '\'=1+1,\'@x,\'-a,-1.5,"a,""b""",,\'\tq\r\n'


def test_where_no_record_came_for_long_is_a_gap_and_a_steady_flow_has_none(opened: Open) -> None:
    """Ten records a second apart, none for 100 s, ten more: 100 s are more than 30 s and than 20 usual steps."""
    page = opened(FakeWatch([]))
    gaps = "import('/assets/charts.js').then(it => it.gapsOf({}))"
    steady = [at * 1_000_000 for at in range(10)]
    later = [(at + 109) * 1_000_000 for at in range(10)]
    assert page.evaluate(gaps.format(json.dumps([*later, *steady]))) == [[9, 109]]
    assert page.evaluate(gaps.format(json.dumps([at * 3_600_000_000 for at in range(20)]))) == []


def test_a_sentence_of_the_server_gets_the_numbers_of_the_page_and_names_stay(opened: Open) -> None:
    page = opened(FakeWatch([]))
    said = page.evaluate(
        "import('/assets/format.js').then(it => it.prose('-1045.3 bps by desk-20 of 2026-11-28, 5 -2.'))"
    )
    assert said == f"{MINUS}1,045.3 bps by desk-20 of 2026-11-28, 5 {MINUS}2."


# How it looks


@pytest.mark.parametrize("width", WIDTHS)
def test_no_view_is_wider_than_the_window(opened: Open, width: int) -> None:
    server = FakeWatch([*invented.desk(), Bandit(LONG, arms=(LONG, "ridge")), Bandit(RIGHT_TO_LEFT)])
    page = opened(server, "desk", width=width)
    page.until("document.querySelectorAll('.desk .open').length > 3")
    seen = []
    for view, drawn in (
        ("desk", ".desk .open"),
        (f"bandit/{quote(LONG)}", ".chart canvas"),
        ("operate", ".letters details"),
        ("compare", ".facts-table tbody tr"),
    ):
        page.evaluate(f"location.hash = '#/{view}'")
        page.until(f"document.querySelector({drawn!r})")
        seen.append(page.evaluate("document.documentElement.scrollWidth"))
    assert seen == [width] * 4


def test_a_screen_reader_meets_rows_and_cells_on_a_phone_too(opened: Open) -> None:
    page = opened(FakeWatch(invented.desk()), width=390)
    page.until("document.querySelectorAll('.desk .open').length === 9")
    page.call("Accessibility.enable")
    roles = [node["role"]["value"] for node in page.call("Accessibility.getFullAXTree")["nodes"] if "role" in node]
    assert "bps a trade above uniform" in text(page, "tr[data-id]")
    assert page.evaluate("document.querySelector('.pulse .dead').clientWidth") > 0, "dead letters stand"
    assert roles.count("row") == 10
    assert roles.count("cell") >= 9 * 4
    nameless = "[...document.querySelectorAll('input, select, button, a, [role=img]')].filter(one => "
    nameless += "!one.textContent.trim() && !one.getAttribute('aria-label')).map(one => one.outerHTML)"
    assert page.evaluate(nameless) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_by_4_5_to_1(opened: Open, scheme: str) -> None:
    page = opened(FakeWatch([]), scheme=scheme)
    colours = page.evaluate(
        "Object.fromEntries(['card', 'ground', 'soft', 'ink', 'dim', 'good', 'bad', 'warn', 'accent'].map(name => "
        "[name, getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()]))"
    )
    assert (luminance(colours["ground"]) < 0.1) == (scheme == "dark")
    poor = {
        (ink, ground): round(contrast(colours[ink], colours[ground]), 2)
        for ink in ("ink", "dim", "good", "bad", "warn", "accent")
        for ground in ("card", "ground", "soft")
        if contrast(colours[ink], colours[ground]) < 4.5
    }
    assert poor == {}


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_time_is_utc_in_a_browser_in_tokyo(opened: Open) -> None:
    page = opened(FakeWatch(invented.desk()), "bandit/us-equities", zone="Asia/Tokyo")
    page.until("document.querySelector('.rewards tbody time')")
    assert page.evaluate("new Date(1795876327000).getHours()") == 23  # the browser itself is in Tokyo
    assert text(page, ".rewards tbody time") == "14:32:07"
    assert text(page, ".pulse .utc dd").startswith("14:32:")
    tick = "import('/assets/format.js').then(it => it.tick(1795824000, 3600, false))"  # 2026-11-28 00:00 UTC
    assert page.evaluate(tick) == "00:00\n28 Nov"


# A thousand bandits


def test_of_a_thousand_bandits_only_those_in_sight_are_drawn_and_written(opened: Open) -> None:
    """What it costs in time is measured by `python -m tests.watch.page_cost`."""
    server = FakeWatch([])
    server.rows = invented.thousand()
    page = opened(server)
    page.until("document.querySelectorAll('.desk .open').length > 10", 20)
    assert page.evaluate("document.querySelectorAll('tr[data-id]').length") < 40
    assert page.evaluate("document.documentElement.scrollHeight") > 1000 * 48
    page.evaluate(
        "written = new Set(); new MutationObserver(all => all.forEach(one => "
        "written.add((one.target.closest ?? (() => null)).call(one.target, 'tr')?.dataset.id ?? 'text')))"
        ".observe(document.querySelector('.desk tbody'), {subtree: true, childList: true, attributes: true})"
    )
    changed = [{**row, "version": 9, "steps": 9, "last_change": None} for row in server.rows[500:700]]
    server.send("rows", {"bandits": [*changed, {**server.rows[0], "paused": not server.rows[0]["paused"]}]})
    page.until("written.has('desk-0000')")
    assert page.evaluate("[...written]") == ["desk-0000"]
    page.evaluate("scrollTo(0, 48 * 600)")
    page.until("document.querySelector('tr[data-id=\"desk-0600\"]')?.innerText.includes('9 steps')")
