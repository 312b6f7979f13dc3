"""What a thousand bandits and fifty updates a second cost a browser: `python -m tests.watch.page_cost`.

Prints, for each view, how many milliseconds a second the page's main thread is busy, and how many of them in scripts.
Both are wall time: measure on a quiet machine.
"""

import argparse
import random
import threading
import time
from typing import Any

from tests.watch import invented
from tests.watch.chromium import Chromium, Page, chromium
from tests.watch.fake import FakeWatch

VIEWS = {"desk": "desk", "bandit": "bandit/us-equities", "operate": "operate", "compare": "compare"}
UPDATES = 25  # twice a second
SETTLE_SECONDS = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.watch.page_cost", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each view (default 10)")
    seconds = parser.parse_args().seconds
    server = FakeWatch(invented.desk())
    server.rows = invented.thousand()
    stop = threading.Event()
    feeding = threading.Thread(target=feed, args=(server, stop), daemon=True)
    feeding.start()
    try:
        with chromium() as browser:
            for name, view in VIEWS.items():
                busy, script, rows = cost(browser, f"{server.address}#/{view}", seconds)
                drawn = f", {rows} rows drawn" if rows else ""
                print(f"{name:8} {busy:4.0f} ms/s busy, {script:4.0f} ms/s in scripts{drawn}")  # noqa: T201 - a command
    finally:
        stop.set()
        feeding.join()
        server.close()


def feed(server: FakeWatch, stop: threading.Event) -> None:
    """As the server does: rows twice a second, a pulse each second, operate each two."""
    draw = random.Random(1)
    turn = 0
    while not stop.wait(0.5):
        turn += 1
        now = invented.NOW + turn * invented.MICROS // 2
        server.send("rows", {"bandits": [moved(row, draw, turn, now) for row in draw.sample(server.rows, UPDATES)]})
        if turn % 2 == 0:
            server.send("pulse", invented.pulse(now))
        if turn % 4 == 0:
            server.send("operate", invented.operate())


def moved(row: dict[str, Any], draw: random.Random, turn: int, now: int) -> dict[str, Any]:
    weights = [max(0.001, weight + draw.uniform(-0.02, 0.02)) for weight in row["weights"]]
    change = {**row["last_change"], "ts": now}
    shares = [weight / sum(weights) for weight in weights]
    return {**row, "weights": shares, "version": row["version"] + turn, "ts": now, "last_change": change}


def cost(browser: Chromium, address: str, seconds: float) -> tuple[float, float, int]:
    """Milliseconds a second, busy and in scripts, and how many rows of the desk are drawn."""
    page = Page(browser)
    page.open(address)
    page.until("document.querySelector('.pulse .state dd').textContent === 'Live'", 30)
    time.sleep(SETTLE_SECONDS)
    busy, script, start = page.busy_seconds(), page.script_seconds(), time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - start
    rows = int(page.evaluate("document.querySelectorAll('tr[data-id]').length"))
    found = ((page.busy_seconds() - busy) * 1000 / lasted, (page.script_seconds() - script) * 1000 / lasted, rows)
    page.close()
    return found


if __name__ == "__main__":
    main()
