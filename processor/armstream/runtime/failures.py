"""Why a processor stops: each failure's text is the one line an operator reads, and names the way out."""

from confluent_kafka import KafkaError

from armstream.access import REFUSALS


class Stopped(Exception):
    """The processor cannot go on; its text says why and what to do. Nothing uncommitted was published."""


class NotAllowed(Exception):
    """The cluster refused a right in the middle of the work: access.why_refused says which. Else it is as Stopped."""

    def __init__(self, error: KafkaError) -> None:
        super().__init__(error.str())
        self.error = error


def stop_if_refused(error: KafkaError) -> None:
    """Raises NotAllowed for an error that only a right mends: to ask again is in vain."""
    if error.code() in REFUSALS:
        raise NotAllowed(error)
