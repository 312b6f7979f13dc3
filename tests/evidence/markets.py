"""The markets of the evidence. Law: a market is fixed before anybody trades in it, and the same for every rule.

Synthetic ones of five arms and 20,000 decisions, drawn from a seed, and the demo's real prices, as they were and with
each stock's mean daily return taken out: from 2000 to 2013 being long wins by survivorship alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from armstream.demo.market import Bar
from tests.comparison import Book

N_ARMS = 5
DECISIONS = 20_000
NOISE_BPS = 20.0
EDGE_BPS = 10.0
BEST_ARM = 3
TURN_EVERY = 2_000
EARLY = 5_000  # decisions, of the trap
CRASH_CHANCE, CRASH_BPS, CALM_BPS, SAFE_BPS = 0.01, -1_500.0, 12.0, 5.0

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Market:
    """Decision n earns rewards_bps[n, arm], means_bps[n, arm] in expectation; it is known `wait` decisions later (1:
    before the next). best_arms[n] is the best in expectation at that moment. buys[n, arm] is the arm's signal, where
    arms have one."""

    rewards_bps: Array
    means_bps: Array
    best_arms: NDArray[np.intp]
    wait: int = 1
    buys: NDArray[np.bool_] | None = None


def steady(generator: Generator) -> Market:
    """+10 against 0 bps with noise 20, for ever."""
    means = np.zeros((DECISIONS, N_ARMS))
    means[:, BEST_ARM] = EDGE_BPS
    return _noisy(means, generator)


def switching(generator: Generator) -> Market:
    """The same, but every 2,000 decisions the next arm is the good one: over all, none is better than another."""
    means = np.zeros((DECISIONS, N_ARMS))
    decisions = np.arange(DECISIONS)
    means[decisions, decisions // TURN_EVERY % N_ARMS] = EDGE_BPS
    return _noisy(means, generator)


def rare_crash(generator: Generator) -> Market:
    """Arm 0 earns +12 bps, but one time in a hundred -1,500: -3.12 in the mean. Arm 1 earns +5, the others 0."""
    means = np.zeros((DECISIONS, N_ARMS))
    means[:, 1] = SAFE_BPS
    market = _noisy(means, generator)
    crashes = generator.random(DECISIONS) < CRASH_CHANCE
    market.rewards_bps[:, 0] += np.where(crashes, CRASH_BPS, CALM_BPS)
    means[:, 0] = CRASH_CHANCE * CRASH_BPS + (1.0 - CRASH_CHANCE) * CALM_BPS
    return market


def trap(generator: Generator) -> Market:
    """Arm 0 earns +10 bps for 5,000 decisions, and is the worst from then on with -10. Arm 1 earns +5, the others 0."""
    means = np.zeros((DECISIONS, N_ARMS))
    means[:, 0] = np.where(np.arange(DECISIONS) < EARLY, EDGE_BPS, -EDGE_BPS)
    means[:, 1] = SAFE_BPS
    return _noisy(means, generator)


SYNTHETIC: Mapping[str, Callable[[Generator], Market]] = {
    "steady": steady,
    "switching": switching,
    "rare crash": rare_crash,
    "trap": trap,
}


def synthetic(name: str, seed: int) -> Market:
    """Signals are fair coins, whatever an arm earns."""
    market = SYNTHETIC[name](default_rng([seed, 1_000]))
    return replace(market, buys=default_rng([seed, 2_000]).random(market.means_bps.shape) < 0.5)


def late(market: Market, delay: int) -> Market:
    """The same, with rewards known `delay` decisions later."""
    return replace(market, wait=market.wait + delay)


def of_book(book: Book) -> Market:
    """Real trades; what they earned is all that is known of their means."""
    best = np.full(len(book.rewards_bps), book.best_arm)
    return Market(book.rewards_bps, book.rewards_bps, best, book.held_bars, book.buys)


def without_drift(bars: Sequence[Bar]) -> list[Bar]:
    """The same bars, every price divided by exp(mean * day): the last close is the first."""
    mean = log(bars[-1].close / bars[0].close) / (len(bars) - 1)
    return [
        Bar(bar.date, *(price * exp(-mean * day) for price in (bar.open, bar.high, bar.low, bar.close)))
        for day, bar in enumerate(bars)
    ]


def _noisy(means: Array, generator: Generator) -> Market:
    return Market(means + generator.normal(0.0, NOISE_BPS, means.shape), means, means.argmax(axis=1))
