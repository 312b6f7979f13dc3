"""Microseconds an engine pays for one call, against a running broker: `python -m tests.engine_bench`."""

import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from msgspec.structs import replace
from numpy.random import default_rng

from armstream.codec import encode
from armstream.engine import TradesPublisher, WeightsFollower
from armstream.events import ArmWeight, ExpertWeight, WeightVector
from armstream.learning.advice import Expert
from deploy.kafka.broker import start_kafka
from tests.codec_bench import microseconds

ARMS = ("lightgbm", "xgboost", "ridge", "lstm", "mlp")
BASE = dict.fromkeys(ARMS, 0.2)
ROUNDS = 15
CALLS = 500
VECTOR = WeightVector(
    "eu-equities", 4_321, "exp3ix", "implicit", tuple(ArmWeight(name, 0.2, 0.2) for name in ARMS), 0.0, 0.01, 100.0,
    4_321, "LIVE", 0.3, "close-00001", 1_763_778_000_123_456,
)  # fmt: skip

ADVISED = replace(
    VECTOR,
    bandit_id="advised",
    algorithm="exp4",
    experts=(
        *(ExpertWeight(name, 0.2, (0.2,) * 5) for name in ("base", "bandit", "uniform")),
        *(ExpertWeight(name, 0.2) for name in ("regime", "scorer")),
    ),
)
OWN: Mapping[str, Expert] = {name: lambda _: [0.1, 0.2, 0.3, 0.2, 0.2] for name in ("regime", "scorer")}


def main() -> None:
    with start_kafka(say=_say) as broker:
        client: dict[str, str | int | float | bool] = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}
        admin = AdminClient(client)
        for made in admin.create_topics([NewTopic(topic, 8, 1) for topic in ("weights", "trades")]).values():
            made.result(30)
        producer = Producer(client)
        producer.produce("weights", encode(VECTOR), VECTOR.bandit_id)
        producer.produce("weights", encode(ADVISED), ADVISED.bandit_id)
        producer.flush(30)
        with WeightsFollower(client) as follower, TradesPublisher(client) as publisher:
            _print(_calls(follower, publisher), publisher)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _calls(follower: WeightsFollower, publisher: TradesPublisher) -> Mapping[str, Callable[[], object]]:
    rng, book = default_rng(1), VECTOR.bandit_id
    decision = follower.choose(book, rng)
    make_fill = partial(decision.fill, instrument_id="AAPL", side="BUY", quantity=100.0, price=150.0)
    fill = make_fill()
    return {
        "weights": lambda: follower.weights(book),
        "status": lambda: follower.status(book),
        "choose": lambda: follower.choose(book, rng),
        "choose, two arms available": lambda: follower.choose(book, rng, available={"ridge", "lstm"}),
        "choose, two of five experts own": lambda: follower.choose("advised", rng, arms=ARMS, experts=OWN),
        "blend": lambda: follower.blend(book, BASE),
        "decision.fill": make_fill,
        "encode a fill": lambda: encode(fill),
        "decision.close": lambda: decision.close(quantity=100.0, price=150.5),
        "publish, encoding included": lambda: publisher.publish(fill),
    }


def _print(calls: Mapping[str, Callable[[], object]], publisher: TradesPublisher) -> None:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(microseconds(call, CALLS))
            publisher.flush()
    sys.stdout.write(f"{'us a call, 5 arms':33}median (least to most)\n")
    for name, of_name in times.items():
        sys.stdout.write(f"{name:33}{statistics.median(of_name):.1f} ({min(of_name):.1f} to {max(of_name):.1f})\n")


if __name__ == "__main__":
    main()
