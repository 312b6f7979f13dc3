"""The job in Faust, exactly once: `python -m tests.bench.faust_job SETTINGS` by an interpreter that has it.

State is one table in memory with its changelog; a bandit's state and its positions' are entries of it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust

from tests.bench import plain


@dataclass(frozen=True, slots=True)
class Entries:
    """One bandit's part of a table."""

    table: Any
    bandit_id: str

    def get(self, key: str) -> Any:
        return self.table.get(f"{self.bandit_id}\0{key}")

    def set(self, key: str, value: Any) -> None:
        self.table[f"{self.bandit_id}\0{key}"] = value


def main() -> None:
    settings = plain.settings_from(Path(sys.argv[1]))
    arms = settings["arms"].split(",")
    app = faust.App(
        settings["group"],
        broker=f"kafka://{settings['bootstrap.servers']}",
        processing_guarantee="exactly_once",
        store="memory://",
        datadir=settings["state.dir"],
        topic_partitions=int(settings["partitions"]),
        topic_replication_factor=1,
        topic_disable_leader=True,
        broker_commit_interval=float(settings["commit.seconds"]),
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
    )
    trades = app.topic(
        settings["trades"], key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    outputs = {
        name: app.topic(settings[name], key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        for name in ("rewards", "weights")
    }
    table = app.Table("state", partitions=int(settings["partitions"]))

    async def learn(stream: Any) -> None:
        async for event in stream.events():
            cut = {settings["trades"]: event.message.offset + 1}
            for name, value in plain.apply(event.value, arms, lambda bandit_id: Entries(table, bandit_id), cut):
                await outputs[name].send(key=event.key, value=value)

    app.agent(trades)(learn)
    worker = faust.Worker(app, loglevel="WARNING")
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
