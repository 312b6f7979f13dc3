"""Which settings decide what a task does with its input, beside its learners' own: what the audit log must know.

A learner's settings stand in its snapshots. These are the others: with them, and the log, everything that was
published can be derived again though they were changed since.
"""

import json
from dataclasses import asdict

from armstream.settings import Settings


def settings_in_force(settings: Settings) -> str:
    """Canonical JSON: sorted keys; `enabled` is a boolean, all else integers, with the unit last in their names."""
    return json.dumps(
        {
            **asdict(settings.task_limits()),
            "enabled": settings.online_learning.enabled,
            "max_arms": settings.limits.arms,
            "max_experts": settings.limits.experts,
            "max_record_bytes": settings.limits.record_bytes,
            "max_future_micros": settings.max_future_micros,
        },
        sort_keys=True,
    )
