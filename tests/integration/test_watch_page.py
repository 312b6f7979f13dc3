"""The page in a real Chromium before the real server, processor and broker: what a desk sees on a troubled day."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from armstream.events import Close, Command, Fill
from deploy.kafka.broker import Broker, start_kafka
from deploy.kafka.node import free_port
from tests.integration.load import history
from tests.integration.processor import Job, eventually
from tests.watch.chromium import Chromium, Page, chromium

pytestmark = [pytest.mark.browser, pytest.mark.kafka]

ARMS = ("lightgbm", "xgboost", "ridge", "lstm")
HOSTILE = "<script>hit=1</script><img src=x onerror=hit=2>"
TABLES = {
    "operate": "document.querySelectorAll('td .name').length > 3",
    "compare": "document.querySelector('.chart canvas') && document.querySelector('.facts-table tbody tr')",
}


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """One that may be killed: never a given one."""
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    with start_kafka(environment=environment) as broker:
        yield broker


@pytest.fixture
def job(own_broker: Broker, tmp_path: Path) -> Iterator[Job]:
    job = Job(own_broker.bootstrap_servers, "wp-", tmp_path)
    yield job
    job.close()


@pytest.fixture
def browser() -> Iterator[Chromium]:
    with chromium() as started:
        yield started


def test_the_page_of_a_real_cluster_through_a_new_bandit_a_pause_and_a_broker_that_goes_and_comes_back(
    job: Job, own_broker: Broker, browser: Chromium
) -> None:
    job.create_topics()
    processor = job.start()
    port = free_port()
    watch = job.command("watch", "--http", f"127.0.0.1:{port}")
    eventually(lambda: f":{port}" in watch.text, 60, "watch's address")
    address = f"http://127.0.0.1:{port}/"
    page = Page(browser)
    page.open(f"{address}#/desk")
    page.until("document.querySelector('.empty')?.innerText.includes('No bandit yet')", 60)

    job.send(history(1, 120, bandits=3, arms=ARMS, name="s1-"))
    job.wait_until_applied(processor)
    page.until("document.querySelectorAll('.desk .open').length === 3", 30)

    a_hostile_bandit_appears(job, page)
    a_pause_is_seen(job, page)
    each_view_fits_and_is_drawn(browser, address)
    the_broker_goes_and_comes_back(job, own_broker, page)

    assert [url for url in page.requests if not url.startswith(address)] == []
    assert page.complaints == []
    watch.signal(signal.SIGINT)
    assert watch.exit_code() == 0, watch.text


def a_hostile_bandit_appears(job: Job, page: Page) -> None:
    now = int(time.time() * 1e6)
    job.send(
        [
            Fill("f-1", HOSTILE, "p-1", "AAPL", "BUY", 100.0, 150.0, now, arm="ridge", propensity=0.25),
            Close("c-1", HOSTILE, "p-1", 100.0, 150.5, now + 1, fees=0.5, slippage=0.2),
        ]
    )
    page.until(f"[...document.querySelectorAll('.desk .open')].some(one => one.textContent === {HOSTILE!r})", 30)
    assert page.evaluate("typeof hit") == "undefined"
    # BUY 100 at 150.00, close at 150.50, fees 0.50, slippage 0.20: (50 - .70) / 15000 = 32.8667 bps
    row = f"[...document.querySelectorAll('tr[data-id]')].find(one => one.dataset.id === {HOSTILE!r})"
    page.until(f"{row}.innerText.includes('+32.9')", 30)


def a_pause_is_seen(job: Job, page: Page) -> None:
    job.send([Command("k-1", "book-0", "PAUSE", int(time.time() * 1e6), reason="lunch")])
    page.until("document.querySelector('tr[data-id=\"book-0\"] .paused')", 30)


def each_view_fits_and_is_drawn(browser: Chromium, address: str) -> None:
    for width, scheme in ((1280, "dark"), (390, "light")):
        page = Page(browser, width=width, scheme=scheme)
        page.open(f"{address}#/desk")
        page.until("document.querySelectorAll('.desk .open').length === 4", 30)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(15, 17, 20)" if scheme == "dark" else "rgb(244, 245, 246)")
        widths = [page.evaluate("document.documentElement.scrollWidth")]
        page.click("document.querySelector('tr[data-id=\"book-0\"] .open')")
        page.until("document.querySelector('.chart canvas') && document.querySelector('.rewards .why')", 30)
        assert "PAUSE" in page.evaluate("document.querySelector('.marks').innerText")
        widths.append(page.evaluate("document.documentElement.scrollWidth"))
        for view, drawn in TABLES.items():
            page.evaluate(f"location.hash = '#/{view}'")
            page.until(drawn, 30)
            widths.append(page.evaluate("document.documentElement.scrollWidth"))
        assert widths == [width] * 4
        assert page.complaints == []
        page.close()


def the_broker_goes_and_comes_back(job: Job, own_broker: Broker, page: Page) -> None:
    own_broker.kill()
    page.until("document.getElementById('banner').innerText.includes('Kafka does not answer')", 60)
    own_broker.restart()
    page.until("document.querySelector('.pulse .state dd').textContent === 'Live'", 90)
    steps = "document.querySelector('tr[data-id=\"book-1\"] .warming')?.textContent"
    before = page.evaluate(steps)
    job.send(history(2, 120, bandits=3, arms=ARMS, name="s2-"))
    page.until(f"{steps} && {steps} !== {before!r}", 60)
