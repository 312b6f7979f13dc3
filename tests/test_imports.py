"""The import law: learning <- stages <- runtime <- cli; what is pure imports neither Kafka nor clock nor chance.

Of verify: the shadow shares the stages with the processor, the record's intake, the codec and the reading of settings;
the oracle shares the events alone, and so no formula, no state and no reading of settings.
"""

import ast
import sys
from pathlib import Path

import pytest

import armstream

ROOT = Path(armstream.__file__).parent

IMPURE = {"confluent_kafka", "prometheus_client", "time", "random", "os", "secrets", "importlib"}

# A part and what else of the package it may import; a part that is not named may import what is not kept from it below.
MAY_IMPORT = {
    "learning": {"learning"},
    "evaluation": {"evaluation", "events"},
    "standalone": {"standalone", "persistence", "learning", "plain"},
    "persistence": {"persistence"},
    "events": {"events"},
    "wire": {"wire", "events"},
    "codec": {"codec", "old_records", "wire", "events", "resources"},
    "old_records": {"old_records"},
    "keys": {"keys"},
    "plain": {"plain"},
    "logs": {"logs", "printable"},
    "printable": {"printable"},
    "yaml_text": {"yaml_text", "printable"},
    "text_file": {"text_file"},
    "oracle": {"oracle", "events"},
    "rules": {"rules", "learning", "oracle", "events"},
    "stages": {"stages", "facts", "rules", "learning", "events", "codec", "keys"},
    "facts": {"facts", "learning"},
    "core": {"core", "_native", "intake", "stages", "facts", "rules", "learning", "events", "codec", "keys"},
    "intake": {"intake", "events", "codec", "keys"},
    "verify": {
        *("verify", "oracle", "rules", "stages", "facts", "intake"),
        *("events", "codec", "keys", "settings", "persistence", "waiting", "watermarks", "printable", "access"),
    },
    "engine": {"engine", "learning", "rules", "events", "codec", "plain", "waiting"},
    "operating": {
        *("operating", "runtime", "intake", "events", "codec", "keys", "rules"),
        *("settings", "kafka_settings", "waiting", "watermarks", "access", "printable"),
    },
    "explain": {
        *("explain", "oracle", "rules", "facts", "verify", "operating", "runtime", "events", "codec", "keys"),
        *("settings", "waiting", "printable", "access"),
    },
    "watch": {
        *("watch", "evaluation", "explain", "screen", "figures", "serving", "runtime", "intake", "events", "codec"),
        *("keys", "rules", "facts", "settings", "access", "waiting", "watermarks"),
    },
    "serving": {"serving"},
    "figures": {"figures"},
    "access": {"access", "settings", "waiting"},
    "waiting": {"waiting"},
    "watermarks": {"watermarks"},
}
# Modules that are a part of their own: settings as plain facts, what judges a record without state, state in a file.
OWN_PARTS = {
    "armstream.stages.facts": "facts",
    "armstream.runtime.intake": "intake",
    "armstream.standalone.persistence": "persistence",
}
EXPORTS = {"armstream.learning": {"standalone"}}  # names of another room, loaded when they are asked for
KNOW_KAFKA = {"armstream.verify.log", "armstream.explain.log"}  # of verify and explain
CLIENTS = ("operating", "explain", "watch")  # of the cluster, beside the processors
KNOW_KAFKA_OF_WATCH = {"armstream.watch.follow", "armstream.watch.group"}
PURE_OF_WATCH = {
    f"armstream.watch.{name}" for name in ("alerts", "csv_text", "earned", "facts", "history", "series", "views")
}
PURE = ("learning", "evaluation", "rules", "stages", "facts", "keys")
KNOW_STAGES = {"armstream.verify.shadow"}  # of verify
FOR_EXPLAIN = "armstream.verify.published"  # of verify: how a record of the log is read
# Of runtime, what an operator's client may import: it shares neither the loop nor its transactions.
FOR_OPERATING = {"committed", "failures", "identity", "snapshots", "topics"}
IMPORTED_ONLY_BY = {
    "cli": {"cli"},
    "demo": {"cli", "demo"},
    "verify": {"cli", "verify", "explain"},
    "explain": {"cli", "explain", "watch"},
    "watch": {"cli", "watch"},
    "oracle": {"oracle", "rules", "verify", "explain"},
    "runtime": {"cli", "runtime", "operating", "explain", "watch"},
    "operating": {"cli", "operating", "explain"},
    "yaml": {"yaml_text"},
    "os.environ": {"settings", "cli"},  # the command hands it to settings
    "os.getenv": set[str](),
}


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Dotted names of everything imported anywhere in the module, `from a import b` as a and a.b."""
    package = module if is_package else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            names.add(f"os.{node.attr}")
        elif isinstance(node, ast.Name) and node.id == "__import__":
            names.add("importlib")
    return names


def broken_laws(module: str, imported: set[str]) -> list[str]:
    """What of `imported` the law forbids to `module`, a sentence each."""
    part = _part(module)
    broken = []
    for name in sorted(imported):
        top = name.split(".")[0]
        other = _part(name) if top == "armstream" else name
        if other in EXPORTS.get(module, ()):
            continue
        if top == "armstream" and part in MAY_IMPORT and other and other not in MAY_IMPORT[part]:
            broken.append(f"{module} imports {name}: {part} may not import {other}")
        if other in IMPORTED_ONLY_BY and part not in IMPORTED_ONLY_BY[other]:
            broken.append(f"{module} imports {name}: {other} is for {sorted(IMPORTED_ONLY_BY[other])} only")
        broken += [f"{module} imports {name}: {law}" for law in _laws_of_rooms(module, part, name, top, other)]
    return broken


def _laws_of_rooms(module: str, part: str, name: str, top: str, other: str) -> list[str]:
    """Those of single rooms that an import of `name` breaks."""
    is_impure, own = top in IMPURE or name in IMPURE, {"armstream", *sys.stdlib_module_names}
    knows_kafka = top == "confluent_kafka"
    laws = (
        (part in PURE and is_impure, f"{part} is pure"),
        (module in PURE_OF_WATCH and is_impure, "it is pure"),
        (part == "learning" and top not in own | {"numpy"}, "learning is the standard library and numpy"),
        (part == "evaluation" and top not in own | {"msgspec"}, "evaluation is the standard library and the events"),
        (part == "oracle" and top not in own, "the oracle is the standard library and the events"),
        (
            part == "verify" and other == "stages" and name != "armstream.stages" and module not in KNOW_STAGES,
            f"{' and '.join(sorted(KNOW_STAGES))} knows the stages",
        ),
        (
            part in ("verify", "explain") and knows_kafka and module not in KNOW_KAFKA,
            f"{' and '.join(sorted(KNOW_KAFKA))} know Kafka",
        ),
        (
            part in CLIENTS and other == "runtime" and not set(name.split(".")[2:3]) <= FOR_OPERATING,
            f"of runtime, {part} may import {sorted(FOR_OPERATING)}",
        ),
        (
            part == "watch" and knows_kafka and module not in KNOW_KAFKA_OF_WATCH,
            f"of watch, {sorted(KNOW_KAFKA_OF_WATCH)} know Kafka",
        ),
        (
            part == "explain" and other == "verify" and not name.startswith(FOR_EXPLAIN),
            f"of verify, explain may import {FOR_EXPLAIN}",
        ),
        (part in ("events", "wire", "codec", "keys", "plain") and knows_kafka, f"{part} knows no Kafka"),
    )
    return [law for is_broken, law in laws if is_broken]


def _part(name: str) -> str:
    """armstream.stages.reward -> stages."""
    for module, part in OWN_PARTS.items():
        if name == module or name.startswith(f"{module}."):
            return part
    return name.split(".")[1] if "." in name else ""


def _module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=_module_of)
def test_every_module_keeps_the_import_law(path: Path) -> None:
    module = _module_of(path)
    assert broken_laws(module, imports(path.read_text(), module, path.name == "__init__.py")) == []


def test_the_walk_finds_the_package() -> None:
    found = {_module_of(path) for path in ROOT.rglob("*.py")}
    assert {"armstream", "armstream.learning", "armstream.learning.exp3ix"} <= found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("armstream.learning.exp3ix", "import time"),
        ("armstream.learning.exp3ix", "import os.path"),
        ("armstream.learning.exp3ix", "def f():\n    from random import choice"),
        ("armstream.learning.exp3ix", "import scipy"),
        ("armstream.learning.exp3ix", "from armstream import events"),
        ("armstream.learning.exp3ix", "from ..stages.reward import apply"),
        ("armstream.learning.exp3ix", "import importlib"),
        ("armstream.learning.exp3ix", "now = __import__('time').time()"),
        ("armstream.evaluation.estimator", "import time"),
        ("armstream.evaluation.estimator", "import numpy"),
        ("armstream.evaluation.revealed", "from armstream.learning.feedback import mirrored"),
        ("armstream.stages.reward", "from confluent_kafka import Consumer"),
        ("armstream.stages.reward", "import prometheus_client"),
        ("armstream.stages.reward", "from armstream.runtime.metrics import rewards_total"),
        ("armstream.stages.reward", "from .. import settings"),
        ("armstream.events", "import armstream.codec"),
        ("armstream.codec", "import armstream.stages.reward"),
        ("armstream.codec", "import confluent_kafka"),
        ("armstream.standalone.persistence", "from armstream import codec"),
        ("armstream.engine", "from armstream.stages import reward"),
        ("armstream.engine", "import armstream.runtime"),
        ("armstream.oracle.exp3ix", "from armstream.learning import Exp3IXBandit"),
        ("armstream.oracle.exp3ix", "import numpy"),
        ("armstream.oracle.bandit", "from armstream.stages.rules import SETTINGS_CHANGE"),
        ("armstream.oracle.bandit", "from armstream.stages.reward import match"),
        ("armstream.oracle.settings", "from armstream.settings import Settings"),
        ("armstream.oracle.comparison", "from armstream.verify.published import place"),
        ("armstream.verify.history", "from armstream.learning import Exp3IXBandit"),
        ("armstream.verify.history", "from armstream.stages.reward import match"),
        ("armstream.verify.history", "from armstream.runtime.publication import cuts_of"),
        ("armstream.verify.history", "from armstream.runtime.publication import TASK_KEY"),
        ("armstream.runtime.loop", "from armstream.oracle.matching import match"),
        ("armstream.verify.history", "from confluent_kafka import Consumer"),
        ("armstream.runtime.loop", "from armstream.verify.published import place"),
        ("armstream.runtime.loop", "import armstream.cli"),
        ("armstream.runtime.loop", "import yaml"),
        ("armstream.runtime.loop", "import os\nhost = os.environ['HOST']"),
        ("armstream.runtime.loop", "from os import getenv"),
        ("armstream.settings", "from armstream import runtime"),
        ("armstream.runtime.loop", "import armstream.demo.desk"),
        ("armstream.runtime.loop", "from armstream.operating.command import send"),
        ("armstream.operating.command", "from armstream.runtime.loop import Processor"),
        ("armstream.operating.command", "from armstream.runtime import restore"),
        ("armstream.operating.command", "from armstream.stages.state import TaskState"),
        ("armstream.explain.replay", "from armstream.learning import Exp3IXBandit"),
        ("armstream.explain.replay", "from armstream.verify.shadow import Shadow"),
        ("armstream.explain.replay", "from armstream.stages.state import TaskState"),
        ("armstream.explain.vector", "from confluent_kafka import Consumer"),
        ("armstream.explain.bandit", "from armstream.runtime.loop import Processor"),
        ("armstream.operating.command", "from armstream.explain.vector import explain"),
        ("armstream.watch.server", "from confluent_kafka import Consumer"),
        ("armstream.watch.history", "import time"),
        ("armstream.watch.run", "from armstream.runtime.loop import Processor"),
        ("armstream.runtime.loop", "from armstream.watch.board import Board"),
        ("armstream.keys", "import time"),
        ("armstream.plain", "from armstream.events import Fill"),
        ("armstream.plain", "import confluent_kafka"),
    ],
)
def test_a_module_that_breaks_the_law_is_named(module: str, source: str) -> None:
    broken = broken_laws(module, imports(source, module))
    assert broken
    assert all(sentence.startswith(module) for sentence in broken)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("armstream.learning.exp3ix", "import math, logging\nimport numpy as np\nfrom armstream.learning import exp4"),
        (
            "armstream.stages.bandit",
            "import msgspec\nfrom armstream.learning import Exp3IXBandit\nfrom .. import codec",
        ),
        ("armstream.runtime.loop", "import os, time\nfrom armstream.stages.reward import apply\nos.getpid()"),
        ("armstream.verify.log", "from confluent_kafka import Consumer\nfrom armstream.settings import Settings"),
        ("armstream.operating.command", "from armstream.runtime.topics import partition_count"),
        (
            "armstream.verify.shadow",
            "from armstream.stages.pipeline import Pipeline\nfrom armstream.runtime.intake import Intake",
        ),
        ("armstream.oracle.bandit", "from fractions import Fraction\nfrom armstream.events import Reward"),
        ("armstream.settings", "import os\nos.environ"),
        ("armstream.yaml_text", "import yaml"),
        ("armstream.cli", "import os\nfrom armstream import runtime, demo, settings, __version__\nos.environ"),
    ],
)
def test_a_module_that_keeps_the_law_is_let_be(module: str, source: str) -> None:
    assert broken_laws(module, imports(source, module)) == []
