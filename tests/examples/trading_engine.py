"""An engine that trades on Armstream's weights: `make engine-example`, beside `make run` in another terminal.

All it needs of Armstream is `armstream.engine`; the prices and the five models are the demo's. It trades one stock: on
a bar's close each model says BUY or SELL, the one that `choose` draws is traded, the order fills at the next open and
ends at that day's close.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from numpy.random import default_rng
from rich.console import Console
from rich.live import Live
from rich.table import Table

from armstream.demo.families import FAMILIES, LOOKBACK_BARS
from armstream.demo.market import load_bars
from armstream.engine import FollowerError, PublishError, StaleWeightsError, TradesPublisher, WeightsFollower

STOCK, BANDIT_ID, QUANTITY = "AAPL", "example-AAPL", 100.0
BASE = {"momentum": 0.3, "mean_reversion": 0.1, "breakout": 0.2, "average_cross": 0.2, "buy_and_hold": 0.2}
ADDRESS = Path(__file__).parents[2] / ".kafka" / "run" / "address"  # make run leaves it there while it runs
START_SECONDS = 10.0

Show = Callable[[str, Mapping[str, float], Mapping[str, float]], None]  # what is said, bandit weights, blended ones


def trade(follower: WeightsFollower, publisher: TradesPublisher, per_second: float, until: float, show: Show) -> None:
    """One position after the other; history starts again at its end."""
    bars, rng = load_bars()[STOCK], default_rng(1)
    for today in cycle(range(LOOKBACK_BARS, len(bars) - 1)):
        if time.monotonic() >= until:
            return
        seen = bars[today - LOOKBACK_BARS + 1 : today + 1]
        signals = {name: FAMILIES[name](seen) for name in BASE}
        decision = follower.choose(BANDIT_ID, rng, arms=list(BASE), signals=signals)
        side, tomorrow = signals[decision.arm], bars[today + 1]
        publisher.publish(
            decision.fill(instrument_id=STOCK, side=side, quantity=QUANTITY, price=tomorrow.open, fees=0.5)
        )
        publisher.publish(decision.close(quantity=QUANTITY, price=tomorrow.close, fees=0.5, slippage=1.0))
        publisher.flush()

        vector, blended = follower.weights(BANDIT_ID), follower.blend(BANDIT_ID, base=BASE)
        if vector is not None and vector == follower.weights(BANDIT_ID):  # else a newer one was blended, maybe
            said = f"version {vector.version}  {vector.phase}  alpha {vector.blend_alpha:.2f}"
            show(said, {arm.name: arm.weight for arm in vector.arms}, blended)
        time.sleep(1 / per_second)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make engine-example ARGS=...", description=__doc__.partition("\n")[0])
    parser.add_argument("--for", type=float, default=60.0, dest="for_seconds", metavar="SECONDS", help="default 60")
    parser.add_argument("--per-second", type=float, default=10.0, help="positions; default 10")
    parser.add_argument("--bootstrap-servers", help="default: those of the make run that is under way")
    parser.add_argument("--prefix", default="", help="of the topics' names")
    parser.add_argument("--plain", action="store_true", help="a line a step instead of a table")
    options = parser.parse_args(argv)
    servers = options.bootstrap_servers or (ADDRESS.read_text() if ADDRESS.exists() else "")
    if not servers:
        return failed("nothing runs here: `make run` first, in another terminal")
    client = {"bootstrap.servers": servers}
    try:
        with (
            WeightsFollower(client, topic=f"{options.prefix}weights", start_timeout_seconds=START_SECONDS) as follower,
            TradesPublisher(client, topics=(f"{options.prefix}trades",)) as publisher,
            display(options.plain) as show,
        ):
            trade(follower, publisher, options.per_second, time.monotonic() + options.for_seconds, show)
    except (FollowerError, PublishError, StaleWeightsError, TimeoutError) as error:
        return failed(f"{error}: is `make run` still there?")
    except KeyboardInterrupt:
        return 0
    return 0


@contextmanager
def display(plain: bool) -> Iterator[Show]:
    """Base, bandit and blended weights side by side: as a table, or as a line where there is no terminal."""
    console = Console()
    if console.is_terminal and not plain:
        with Live(console=console) as live:
            yield lambda said, bandit, blended: live.update(table(said, bandit, blended))
        return

    def line(said: str, bandit: Mapping[str, float], blended: Mapping[str, float]) -> None:
        columns = "  ".join(f"{arm} {BASE[arm]:.3f} {bandit[arm]:.3f} {blended[arm]:.3f}" for arm in BASE)
        print(f"{said}  {columns}", flush=True)  # noqa: T201 - what the example is for

    yield line


def table(said: str, bandit: Mapping[str, float], blended: Mapping[str, float]) -> Table:
    shown = Table("model", "base", "bandit", "blended", title=f"{BANDIT_ID}  {said}")
    for arm, share in BASE.items():
        shown.add_row(arm, f"{share:.3f}", f"{bandit[arm]:.3f}", f"{blended[arm]:.3f}")
    return shown


def failed(line: str) -> int:
    print(f"engine-example: {line}", file=sys.stderr)  # noqa: T201 - why there is none
    return 1


if __name__ == "__main__":
    sys.exit(main())
