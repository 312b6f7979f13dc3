"""The formula oracle: what rewards, weights and state must come to, by the published formulas alone.

Law: this room imports the standard library and the events, and nothing of what it proves: no stage, no learner, no
reading of settings. `ORACLES` names each rule's oracle; nothing else here knows which rules there are.
"""

from armstream.oracle.exp3ix import Exp3IX
from armstream.oracle.exp4 import Exp4
from armstream.oracle.formula import Formula, Settings
from armstream.oracle.tsallis import Tsallis

ORACLES: dict[str, type[Formula]] = {"exp3ix": Exp3IX, "tsallis": Tsallis, "exp4": Exp4}


def formula_of(settings: Settings) -> Formula:
    """A learner that has seen nothing. Raises LookupError for a rule that has no oracle, which it names."""
    algorithm = settings["algorithm"]
    if algorithm not in ORACLES:
        raise LookupError(f"no oracle for the algorithm {algorithm!r}; there are those of {', '.join(ORACLES)}")
    return ORACLES[algorithm](settings, settings["arms"])
