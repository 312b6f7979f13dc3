"""`python -m tests.poison`: so many records that no sane producer sends, in trials of a few thousand, on a broker of
its own or that of KAFKA_BOOTSTRAP_SERVERS; then what came of them.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Sequence
from pathlib import Path

from deploy.kafka.broker import start_kafka
from tests.integration.processor import Job
from tests.poison.trial import Tally, attempt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.poison",
        description="Records that no sane producer sends; the law that holds of them stands in tests/poison/trial.py.",
        epilog="example: python -m tests.poison --records 100000 --seed 1",
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--trial", type=int, default=4_000, help="records of a trial")
    parser.add_argument("--seed", type=int, default=None, help="of the first trial; each next one has the next")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    total, failed = Tally(), list[int]()
    with start_kafka(say=_say) as kafka:
        while total.sent < options.records:
            tally = _try(kafka.bootstrap_servers, seed, options.trial, failed)
            total.add(tally)
            if not tally.sent:
                break
            seed += 1
    _say(f"\nin all: {total}")
    return 1 if failed else 0


def _try(bootstrap_servers: str, seed: int, count: int, failed: list[int]) -> Tally:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="armstream-poison-") as folder:
        job = Job(bootstrap_servers, f"p{uuid.uuid4().hex[:12]}-", Path(folder))
        try:
            tally = attempt(job, seed, count)
        except Exception:
            failed.append(seed)
            _say(traceback.format_exc()[-6_000:])
            _say(f"FAILED; again: python -m tests.poison --records 1 --trial {count} --seed {seed}")
            return Tally()
        finally:
            job.close()
            job.admin.delete_topics(list(job.settings.topics.names.all))
    _say(f"seed {seed}, {time.monotonic() - started:.0f} s: {tally}")
    return tally


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command prints


if __name__ == "__main__":
    sys.exit(main())
