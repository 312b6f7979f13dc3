"""The page for engines does what it says: its code is run in order beside a real processor, its names are looked up."""

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from armstream import engine
from armstream.engine import Decision, Status, WeightsFollower
from armstream.engine.view import Fallback
from armstream.events import Close, Fill, Reward
from tests.docs.pages import blocks, page, section
from tests.integration.processor import Job

PAGE = page("engines/weights.md")


@pytest.mark.kafka
def test_its_code_trades_and_is_rewarded(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Every block as it stands, but for the broker's address and the topics' names."""
    five_lines, *others = (
        block.replace("localhost:9092", bootstrap_servers)
        .replace("WeightsFollower(client", f'WeightsFollower(client, topic="{topic_prefix}weights"')
        .replace("TradesPublisher(client", f'TradesPublisher(client, topics=["{topic_prefix}trades"]')
        for block in blocks(PAGE, "python")
    )
    job = Job(bootstrap_servers, topic_prefix, tmp_path)
    try:
        job.create_topics()
        processor = job.start().wait_until_ready()
        names: dict[str, object] = {}
        exec(five_lines, names)
        job.wait_until_applied(processor)
        for block in others:
            exec(block, names)
        job.wait_until_applied(processor)
        _what_the_blocks_left_is_what_the_page_says(names)
        with WeightsFollower({"bootstrap.servers": bootstrap_servers}, topic=f"{topic_prefix}weights") as follower:
            assert follower.weights("eu-equities") is not None

        (record,) = job.audit()
        reward = record.event
        assert isinstance(reward, Reward)
        assert reward.reward_bps == pytest.approx((50.0 - 0.70) / 15_000 * 10_000, rel=1e-12)
        assert (reward.propensity_source, reward.arms[0].propensity) == ("LOGGED", 0.25)
        assert job.log.read(job.settings.topics.names.dead_letters) == []
        sent = [record.event for record in job.log.read(job.settings.topics.names.trades[0])]
        assert names["trade"] in sent
        assert len(sent) == 4
    finally:
        job.close()


def _what_the_blocks_left_is_what_the_page_says(names: dict[str, object]) -> None:
    status, masked, trade = names["status"], names["masked"], names["trade"]
    assert isinstance(status, Status)
    assert (status.version, status.phase, status.fallback) == (1, "WARMING", "WARMING")
    assert isinstance(masked, Decision)
    assert masked.weights_version == 1
    assert masked.probabilities[:2] == (0.0, 0.0)
    assert sum(masked.probabilities) == pytest.approx(1.0, rel=1e-12)
    assert isinstance(trade, Fill)
    # warming, so base: .4, .4, .2
    assert trade.contributions == pytest.approx({"lightgbm": 0.4, "ridge": 0.4, "lstm": 0.2}, rel=1e-12)
    bought, sold = names["bought"], names["sold"]
    assert isinstance(bought, Fill)
    assert isinstance(sold, Close)
    assert (bought.side, bought.quantity, bought.price, bought.notional, sold.final) == ("BUY", 3.0, -2.0, 50.0, True)
    views, viewed, entry = names["views"], names["viewed"], names["entry"]
    assert isinstance(viewed, Decision)
    assert [p > 0.0 for p in viewed.probabilities] == [True, False, True, True]
    assert sum(viewed.probabilities) == pytest.approx(1.0, rel=1e-12)
    assert isinstance(entry, Fill)
    assert entry.signals == views
    assert names["undelivered"] == []
    assert callable(names["decide"])


def test_every_fallback_has_its_row() -> None:
    rows = [row.split("|")[1].strip() for row in PAGE.splitlines() if row.startswith("| ")]
    assert rows[rows.index("fallback") + 2 :][:4] == ["None", "WARMING", "MISSING", "STALE"]
    assert set(Fallback.__args__) == {"WARMING", "MISSING", "STALE"}  # type: ignore[attr-defined]


def test_every_name_of_the_engine_is_told() -> None:
    untold = {"Fallback", "Status"}
    assert {name for name in engine.__all__ if name not in PAGE} <= untold


@pytest.mark.parametrize("method", [Decision.fill, Decision.close])
def test_every_keyword_of_a_fill_and_a_close_is_told(method: Callable[..., object]) -> None:
    told = section(PAGE, "What a fill and a close say")
    untold = {"self", "currency", "exec_type", "exec_ref_id"}  # carried, and not looked at
    assert {name for name in inspect.signature(method).parameters if name not in told} <= untold
