"""`python -m tests.evidence`: every rule on every market, as docs/evidence/rules.md shows it. Tables on stdout."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import monotonic

from matplotlib import rcParams

from armstream.demo.desk import HORIZONS
from armstream.demo.market import load_bars
from tests.comparison import SEEDS, books
from tests.evidence.markets import DECISIONS, Market, of_book, without_drift
from tests.evidence.play import Case, Job, Place, Played, know, run
from tests.evidence.report import (
    MARKETS,
    PRICES,
    earned,
    jobs,
    late_table,
    missed,
    paired_table,
    plot,
    prices_table,
    synthetic_table,
)

BAR_WIDTH = 40
PROCESSES = 2


def markets_of_prices() -> dict[Place, list[Market]]:
    """By the prices' name and the horizon, one for each stock."""
    markets: dict[Place, list[Market]] = defaultdict(list)
    for stock, bars in load_bars().items():
        for name, shown in zip(PRICES, (bars, without_drift(bars)), strict=True):
            for book in books(stock, shown):
                markets[name, book.horizon].append(of_book(book))
    return dict(markets)


def run_all(every: Sequence[Job], prices: dict[Place, list[Market]]) -> list[Played]:
    """In the jobs' order; a progress bar on stderr."""
    played = []
    started = monotonic()
    with ProcessPoolExecutor(PROCESSES, initializer=know, initargs=(prices,)) as pool:
        for one in pool.map(run, every, chunksize=8):
            played.append(one)
            done = len(played) / len(every)
            left = (monotonic() - started) * (1.0 - done) / done
            bar = ("#" * round(BAR_WIDTH * done)).ljust(BAR_WIDTH)
            sys.stderr.write(f"\r\033[K[{bar}] {len(played)} of {len(every)} runs, {left:.0f} s left")
    sys.stderr.write("\r\033[K")
    return played


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What each rule did, on real prices and on synthetic markets.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at least 2")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write synthetic.svg and prices.svg there")
    arguments = parser.parse_args(argv)
    prices = markets_of_prices()
    every = jobs(arguments.seeds)
    results: dict[Case, list[Played]] = defaultdict(list)
    for job, played in zip(every, run_all(every, prices), strict=True):
        results[job.case].append(played)
    for table in (
        synthetic_table(results),
        late_table(results, earned),
        late_table(results, missed),
        prices_table(results),
        *(paired_table(results, rule, "Exp3-IX, auto") for rule in ("Tsallis, auto", "tracking, Tsallis", "EXP4")),
    ):
        sys.stdout.write("\n".join([*table, "", ""]))
    if arguments.plots is not None:
        rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "evidence"})  # small, and the same every time
        real: list[list[Place]] = [[(name, horizon) for horizon in HORIZONS] for name in PRICES]
        decisions = dict.fromkeys(MARKETS, DECISIONS) | {
            place: sum(len(market.rewards_bps) for market in markets) for place, markets in prices.items()
        }
        for file, rows in (("synthetic.svg", [MARKETS]), ("prices.svg", real)):
            plot(results, rows, decisions).savefig(arguments.plots / file, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
