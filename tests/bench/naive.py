"""The first loop one would write: poll, fastavro, plain dicts, and whatever an event touches is written at once.

It is correct, and exactly once: input offsets and output leave in one transaction every 100 ms, which is what Kafka
Streams does when told exactly-once. It has the same learner and the same client settings as armstream; it has no
restore, no dead letters, no expiry. Run as `python -m tests.bench.naive SETTINGS`; SIGTERM ends it.
"""

import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from armstream.events import DecisionSnapshot
from armstream.learning import Exp3IXBandit
from armstream.rules import new_learner
from armstream.settings import load
from tests.bench.plain import Codec

COMMIT_SECONDS = 0.1

Event = dict[str, Any]


FILL, CLOSE = Codec("Fill"), Codec("Close")
REWARD, WEIGHT_VECTOR = Codec("Reward"), Codec("WeightVector")
BANDIT_SNAPSHOT, POSITION_SNAPSHOT = Codec("BanditSnapshot"), Codec("PositionSnapshot")
DECISION = tuple(DecisionSnapshot.__struct_fields__)


class NaiveLoop:
    """State by bandit and by position, and a method for each thing that happens."""

    def __init__(self, settings_path: Path) -> None:
        settings = load(settings_path, {})
        self.topics, self.rules = settings.topics.names, settings.online_learning.for_learner()
        self.learners: dict[str, Exp3IXBandit] = {}
        self.versions: dict[str, int] = {}
        self.positions: dict[tuple[str, str], dict[str, Any]] = {}
        self.next_offset: dict[int, dict[str, int]] = {}
        client = {"bootstrap.servers": settings.kafka.bootstrap_servers}
        group = {"group.id": settings.kafka.group_id, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        self.consumer = Consumer({**client, **group, "isolation.level": "read_committed", "fetch.queue.backoff.ms": 5})
        name = {"transactional.id": f"{settings.kafka.group_id}-naive", "retry.backoff.ms": 1, "linger.ms": 5}
        self.producer = Producer({**client, **name, "queue.buffering.max.messages": 1_000_000})

    def run(self) -> None:
        self.consumer.subscribe(list(self.topics.trades))
        self.producer.init_transactions(30)
        while True:
            self.transaction()

    def transaction(self) -> None:
        """Whatever comes within 100 ms."""
        message = self.consumer.poll(1.0)
        if message is None:
            return
        self.producer.begin_transaction()
        ends_at = time.monotonic() + COMMIT_SECONDS
        while message is not None:
            if message.error() is not None:
                raise RuntimeError(str(message.error()))
            self.take(message)
            left_seconds = ends_at - time.monotonic()
            message = self.consumer.poll(left_seconds) if left_seconds > 0 else None
        offsets = [
            TopicPartition(topic, partition, offset)
            for partition, cut in self.next_offset.items()
            for topic, offset in cut.items()
        ]
        self.producer.send_offsets_to_transaction(offsets, self.consumer.consumer_group_metadata())
        self.producer.commit_transaction()

    def take(self, message: Message) -> None:
        value, partition = cast(bytes, message.value()), cast(int, message.partition())
        cut = self.next_offset.setdefault(partition, {})
        cut[cast(str, message.topic())] = cast(int, message.offset()) + 1
        if value[:10] == FILL.header:
            self.fill(FILL.decode(value), partition)
        else:
            self.close(CLOSE.decode(value), partition)

    def position(self, event: Event) -> dict[str, Any]:
        key = event["bandit_id"], event["position_id"]
        if key not in self.positions:
            self.positions[key] = {
                "bandit_id": key[0],
                "position_id": key[1],
                "ts_last": 0,
                "counted": False,
                "filled_quantity": 0.0,
                "filled_weight": 0.0,
                "side": "UNKNOWN",
                "fills": [],
                "closes": [],
                "open_from": 0,
                "open_left": 0.0,
                "decision": None,
                "open": [],
                "waiting": [],
            }
        return self.positions[key]

    def fill(self, fill: Event, partition: int) -> None:
        position = self.position(fill)
        if any(fill["event_id"] == known["event_id"] for known in position["fills"]):
            return
        if fill["bandit_id"] not in self.learners:
            learner = new_learner(self.rules)
            assert isinstance(learner, Exp3IXBandit)  # the bench compares by the shipped rule
            self.learners[fill["bandit_id"]] = learner
            self.versions[fill["bandit_id"]] = 0
        position["decision"], position["side"] = {name: fill[name] for name in DECISION if name in fill}, fill["side"]
        filled, weighed = position["filled_quantity"], position["filled_weight"]
        whole = fill["order_quantity"] or fill["quantity"]
        weight = (1.0 - weighed) * min(1.0, fill["quantity"] / (whole - filled))
        position["filled_quantity"], position["filled_weight"] = filled + fill["quantity"], weighed + weight
        taken = {**fill, "left": fill["quantity"], "weight": weight, "ts_event": micros(fill)}
        position["fills"].append(taken)
        position["open"].append(taken)
        self.match(position, fill, partition)

    def close(self, close: Event, partition: int) -> None:
        position = self.position(close)
        if any(close["event_id"] == known["event_id"] for known in position["closes"]):
            return
        source = {"topic": "", "partition": partition, "offset": 0, "key": None, "value": None}
        slippage = 0.0 if close["slippage_in_price"] else close["slippage"]
        left = {"left": close["quantity"], "slippage": slippage, "ts_event": micros(close), "source": source}
        taken = {**close, **left}
        position["closes"].append(taken)
        position["waiting"].append(taken)
        self.match(position, close, partition)

    def match(self, position: dict[str, Any], event: Event, partition: int) -> None:
        """First in, first out; then the position is written."""
        position["ts_last"] = max(position["ts_last"], micros(event))
        fills, closes = position["open"], position["waiting"]
        rounding = (len(position["fills"]) + len(position["closes"])) * 2.0**-52
        while fills and closes:
            fill, close = fills[0], closes[0]
            quantity = min(fill["left"], close["left"])
            for side, queue in ((fill, fills), (close, closes)):
                side["left"] -= quantity
                if side["left"] <= rounding * side["quantity"]:
                    queue.pop(0)
            self.reward(position, (fill, close, quantity), event, partition)
        position["open_from"] = len(position["fills"]) - len(fills)
        position["open_left"] = fills[0]["left"] if fills else 0.0
        key = f"{position['bandit_id']}\0{position['position_id']}"
        self.write(self.topics.snapshots, key, POSITION_SNAPSHOT.encode(position), partition)

    def reward(
        self, position: dict[str, Any], segment: tuple[Event, Event, float], event: Event, partition: int
    ) -> None:
        """A segment's reward goes to the learner, and all that changed by it is written."""
        fill, close, quantity = segment
        decision, bandit_id = position["decision"], position["bandit_id"]
        sign = 1.0 if position["side"] == "BUY" else -1.0
        net = sign * (close["price"] - fill["price"]) * quantity * decision["multiplier"]
        net -= fill["fees"] * quantity / fill["quantity"]
        net -= (close["fees"] + close["slippage"]) * quantity / close["quantity"]
        reward_bps = net / (fill["price"] * quantity * decision["multiplier"]) * 10_000
        weight = fill["weight"] * (quantity / fill["quantity"])
        learner, counted = self.learners[bandit_id], not position["counted"]
        arm = learner.get_arm_index(decision["arm"])
        update = learner.update(arm, reward_bps, decision["propensity"], weight, counted)
        position["counted"] = True
        self.versions[bandit_id] += 1
        taken = {"name": decision["arm"], "share": 1.0, "propensity": update.propensities[0]}
        reward = {
            "bandit_id": bandit_id,
            "version": self.versions[bandit_id],
            "position_id": position["position_id"],
            "fill_event_id": fill["event_id"],
            "close_event_id": close["event_id"],
            "quantity": quantity,
            "reward_bps": reward_bps,
            "weight": weight,
            "applied": True,
            "counted": counted,
            "total_steps": learner.total_steps,
            "arms": [{**taken, "estimate": update.estimates[0]}],
            "propensity_source": update.propensity_source,
            "eta": update.eta,
            "ts_event": event["ts_event"],
            "cut": self.next_offset[partition],
        }
        self.write(self.topics.rewards, bandit_id, REWARD.encode(reward), partition)
        self.write(self.topics.weights, bandit_id, WEIGHT_VECTOR.encode(self.vector(bandit_id, event)), partition)
        self.write(self.topics.snapshots, bandit_id, BANDIT_SNAPSHOT.encode(self.snapshot(bandit_id)), partition)

    def vector(self, bandit_id: str, event: Event) -> dict[str, Any]:
        learner = self.learners[bandit_id]
        stats = learner.get_stats()
        live = learner.total_steps >= self.rules.warm_start_steps
        return {
            "bandit_id": bandit_id,
            "version": self.versions[bandit_id],
            "algorithm": self.rules.algorithm,
            "estimator": self.rules.estimator,
            "arms": stats["arm_stats"],
            "gamma": stats["gamma"],
            "eta": stats["eta"],
            "reward_bound_bps": self.rules.reward_bound_bps,
            "total_steps": learner.total_steps,
            "phase": "LIVE" if live else "WARMING",
            "blend_alpha": self.rules.blend_alpha if live else 0.0,
            "cause_event_id": event["event_id"],
            "ts_event": event["ts_event"],
        }

    def snapshot(self, bandit_id: str) -> dict[str, Any]:
        learner = self.learners[bandit_id]
        arms = zip(learner.arm_names, learner.state, learner.arm_pulls, learner.cumulative_rewards, strict=True)
        return {
            "bandit_id": bandit_id,
            "version": self.versions[bandit_id],
            "total_steps": learner.total_steps,
            "arms": [
                {"name": name, "state": [state], "pulls": pulls, "cumulative_reward_bps": earned}
                for name, state, pulls, earned in arms
            ],
            "algorithm": self.rules.algorithm,
            "estimator": self.rules.estimator,
            "settings": "",
        }

    def write(self, topic: str, key: str, value: bytes, partition: int) -> None:
        self.producer.produce(topic, value, key, partition)
        self.producer.poll(0)


def micros(event: Event) -> int:
    """fastavro reads a timestamp as a datetime."""
    ts_event: datetime = event["ts_event"]
    return round(ts_event.timestamp() * 1_000_000)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt, which ends the loop
    try:
        NaiveLoop(Path(sys.argv[1])).run()
    except KeyboardInterrupt:
        sys.exit(0)
