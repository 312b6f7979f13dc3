"""What a trading engine imports. Law: nothing is passed off as live that is not, and no event is lost in silence.

    with WeightsFollower(client) as follower, TradesPublisher(client) as publisher:
        decision = follower.choose("eu-equities", rng, arms=["ridge", "lstm"])
        publisher.publish(decision.fill(instrument_id="AAPL", side="BUY", quantity=100, price=150.0))

decision.py draws an arm and makes its events, advice.py asks the experts, view.py knows what is live, follower.py reads
`weights`, publisher.py writes `trades`. Every method may be called from any thread.
"""

from armstream.engine.decision import Decision, draw
from armstream.engine.follower import FollowerError, StaleWeightsError, WeightsFollower
from armstream.engine.publisher import PublishError, TradesPublisher
from armstream.engine.view import Fallback, Status, weights_within

__all__ = [
    "Decision",
    "Fallback",
    "FollowerError",
    "PublishError",
    "StaleWeightsError",
    "Status",
    "TradesPublisher",
    "WeightsFollower",
    "draw",
    "weights_within",
]
