"""A processor as a process: its end, probes and the watchdog around the loop."""

import gc
import logging
import os
import threading
import time

from armstream.access import processor_rights, why_refused
from armstream.core import CoreMissing, which_runs
from armstream.runtime.failures import Leaving, NotAllowed, Stopped
from armstream.runtime.http import serve_http
from armstream.runtime.identity import Watch
from armstream.runtime.loop import Processor, Pulse
from armstream.runtime.metrics import Metrics
from armstream.runtime.signals import stop_on_signals
from armstream.runtime.start import refuse_differences
from armstream.settings import Settings

log = logging.getLogger(__name__)

# No call of the loop lasts as long: each is given seconds. librdkafka's send_offsets_to_transaction may never return.
_STUCK_SECONDS = 45.0


def run(settings: Settings, *, skip: frozenset[tuple[str, int, int]] = frozenset()) -> int:
    """Runs a processor until SIGTERM or SIGINT: 0 then, 1 where it cannot go on."""
    stopping = stop_on_signals()
    # Events and snapshots are not tracked by the collector; what is left allocates too much for the default threshold.
    gc.set_threshold(50_000, 50, 100)
    try:
        _serve(settings, skip, stopping)
    except Leaving:
        return 0
    except (Stopped, CoreMissing) as stopped:
        log.error("%s", stopped)
        return 1
    except NotAllowed as refused:
        log.error("%s", why_refused(settings, refused.error, processor_rights(settings), log.warning))
        return 1
    except Exception:
        log.exception("the processor crashed; the next start restores what was committed")
        return 1
    return 0


def _serve(settings: Settings, skip: frozenset[tuple[str, int, int]], stopping: threading.Event) -> None:
    log.info("%s", which_runs(settings.core, settings.bandit_registry()))
    metrics, pulse = Metrics(settings), Pulse()
    limit_seconds = min(settings.kafka.max_poll_interval_ms / 2_000, _STUCK_SECONDS)
    _watch(pulse, limit_seconds)
    # Probes answer from the start: opening the producer may wait for what a crashed predecessor left open.
    with serve_http(
        settings,
        metrics,
        alive=lambda: time.monotonic() - pulse.turned_at < limit_seconds,
        ready=lambda: pulse.is_ready,
    ):
        refuse_differences(settings)
        watch = Watch(settings)

        def turn_at_the_start() -> None:
            pulse.turned_at = time.monotonic()
            if stopping.is_set():
                raise Leaving

        processor = Processor(settings, watch, skip, metrics, pulse, turn_at_the_start)
        try:
            while not stopping.is_set():
                processor.turn()
        finally:
            processor.close()


def _watch(pulse: Pulse, limit_seconds: float) -> None:
    """Starts a thread that ends the process when the loop has not turned for too long: some call never came back.

    The time in which the process as a whole was stopped does not count: then this thread slept too.
    """

    def end_when_stuck() -> None:
        look_every_seconds = min(1.0, limit_seconds / 4)
        looked_at = awake_since = time.monotonic()
        while True:
            time.sleep(look_every_seconds)
            if time.monotonic() - looked_at > 2 * look_every_seconds:
                awake_since = time.monotonic()
            looked_at = time.monotonic()
            stuck_seconds = looked_at - max(pulse.turned_at, awake_since)
            if stuck_seconds > limit_seconds:
                log.critical("the loop has not turned for %.0f s: the process ends", stuck_seconds)
                logging.shutdown()
                os._exit(1)

    threading.Thread(target=end_when_stuck, name="watchdog", daemon=True).start()
