"""Two versions of the package side by side: this one, and the one that landed last.

Law: it lies in the checkout, packed, since a shallow clone has no history. When another one has landed:
`git archive COMMIT processor schemas config | xz -9e > tests/integration/landed_last.tar.xz`. It is commit 9d24c7d.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from fastavro import schemaless_writer

from armstream.codec import HEADERS, WRITERS, encode
from armstream.events import Close, Fill
from tests.integration.processor import Job

_PACKED = Path(__file__).with_name("landed_last.tar.xz")
_ENGINE = Path(__file__).with_name("engine_of_any_version.py")


def landed_last(folder: Path) -> Path:
    """Puts it into the folder; gives what PYTHONPATH needs."""
    with tarfile.open(_PACKED) as packed:
        packed.extractall(folder, filter="data")
    return folder / "processor"


def said_by(source_root: Path, code: str, *arguments: str) -> Any:
    """What Python code prints, as JSON, where `armstream` is that of the source root."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(source_root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def forms_known_to(source_root: Path) -> frozenset[bytes]:
    """The headers of the records that a version reads."""
    code = "import json; from armstream.codec import WRITERS; print(json.dumps([one.hex() for one in WRITERS]))"
    return frozenset(map(bytes.fromhex, said_by(source_root, code)))


def send_in(job: Job, forms: frozenset[bytes], events: Iterable[Fill | Close]) -> None:
    """Sends events as an engine would that has these forms; what they have no field for is left out."""
    sender, topic = job.sender(), job.settings.topics.names.trades[0]
    for event in events:
        header = HEADERS[type(event)]
        if header in forms:
            value = encode(event)
        else:
            header = next(one for one, writer in WRITERS.items() if one in forms and writer.event_type is type(event))
            written = BytesIO()
            schemaless_writer(written, WRITERS[header].schema, msgspec.to_builtins(event))
            value = header + written.getvalue()
        sender.produce(topic, event.bandit_id.encode(), value)
    sender.flush()


def trade(job: Job, source_root: Path, trades: int) -> dict[str, Any]:
    """An engine of that version trades, in each of its bandits so often, and tells what it then follows."""
    names = job.settings.topics.names
    code = _ENGINE.read_text(encoding="utf-8")
    told: dict[str, Any] = said_by(
        source_root, code, job.bootstrap_servers, names.weights, names.trades[0], str(trades)
    )
    return told
