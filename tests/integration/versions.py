"""Two versions of the package side by side: this one, and the one that landed last, out of the checkout's history.

Law: where the history lacks it, the test fails and says how to get it.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.integration.processor import SOURCE_ROOT, Job

LANDED_LAST = "10248944a9108be5277dadb47f9d980f440d4adf"
_ROOT = SOURCE_ROOT.parent
_ENGINE = Path(__file__).with_name("engine_of_any_version.py")


def landed_last(folder: Path) -> Path:
    """Puts it into the folder; gives what PYTHONPATH needs."""
    command = ["git", "-c", f"safe.directory={_ROOT}", "archive", LANDED_LAST, "processor", "schemas", "config"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (
        f"no commit {LANDED_LAST} here, the version that landed last: the checkout must have its history "
        f"(git fetch --unshallow): {done.stderr.decode()}"
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
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


def trade(job: Job, source_root: Path, trades: int) -> dict[str, Any]:
    """An engine of that version trades, in each of its bandits so often, and tells what it then follows."""
    names = job.settings.topics.names
    code = _ENGINE.read_text(encoding="utf-8")
    told: dict[str, Any] = said_by(
        source_root, code, job.bootstrap_servers, names.weights, names.trades[0], str(trades)
    )
    return told
