"""An engine of whatever version PYTHONPATH names: it trades, waits for the weights of that, and prints what it follows.

Arguments: bootstrap servers, the topics of weights and of trades, and how many trades in each bandit.
"""

import json
import sys
import time

from numpy.random import default_rng

import armstream
from armstream.engine import TradesPublisher, WeightsFollower

servers, weights, trades, count = *sys.argv[1:4], int(sys.argv[4])
bandits = [f"book-{number}" for number in range(6)]
client, rng = {"bootstrap.servers": servers}, default_rng(1)
with WeightsFollower(client, topic=weights) as follower, TradesPublisher(client, topics=[trades]) as publisher:
    before = {bandit: follower.status(bandit).version for bandit in bandits}
    for _ in range(count):
        for bandit in bandits:
            decision = follower.choose(bandit, rng, arms=["lightgbm", "xgboost", "ridge", "lstm"])
            publisher.publish(decision.fill(instrument_id="AAPL", side="BUY", quantity=10, price=100.0))
            publisher.publish(decision.close(quantity=10, price=100.5))
    publisher.flush()
    deadline = time.monotonic() + 60
    while any(follower.status(bandit).version < before[bandit] + count for bandit in bandits):
        assert time.monotonic() < deadline, [str(follower.status(bandit)) for bandit in bandits]
        time.sleep(0.02)
    told = {bandit: follower.status(bandit) for bandit in bandits}
sys.stdout.write(
    json.dumps(
        {
            "package": armstream.__file__,
            "versions": {bandit: status.version for bandit, status in told.items()},
            "fallbacks": sorted({str(status.fallback) for status in told.values()}),
        }
    )
)
