"""The job in Quix Streams, exactly once: `python -m tests.bench.quix SETTINGS` by an interpreter that has it.

State is in its own stores, with changelogs; a bandit's state and its positions' stand under the record's key.
"""

import sys
from pathlib import Path
from typing import Any

from quixstreams import Application, message_context

from tests.bench import plain


def main() -> None:
    settings = plain.settings_from(Path(sys.argv[1]))
    arms = settings["arms"].split(",")
    application = Application(
        broker_address=settings["bootstrap.servers"],
        consumer_group=settings["group"],
        processing_guarantee="exactly-once",
        commit_interval=float(settings["commit.seconds"]),
        auto_offset_reset="earliest",
        auto_create_topics=True,  # its changelogs
        state_dir=settings["state.dir"],
        consumer_extra_config={"fetch.queue.backoff.ms": 5},
        producer_extra_config={"linger.ms": 5, "retry.backoff.ms": 1},
        loglevel="WARNING",
    )
    trades = application.topic(settings["trades"], key_deserializer="bytes", value_deserializer="bytes")
    outputs = {
        name: application.topic(settings[name], key_serializer="bytes", value_serializer="bytes")
        for name in ("rewards", "weights")
    }

    def step(value: bytes, state: Any) -> list[tuple[str, bytes]]:
        cut = {settings["trades"]: message_context().offset + 1}
        return list(plain.apply(value, arms, lambda _: state, cut))

    frame = application.dataframe(trades).apply(step, stateful=True, expand=True)
    for name, topic in outputs.items():
        frame.filter(lambda output, name=name: output[0] == name).apply(lambda output: output[1]).to_topic(topic)
    application.run()


if __name__ == "__main__":
    main()
