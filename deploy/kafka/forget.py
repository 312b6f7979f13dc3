"""Removes what `make run` kept: `python -m deploy.kafka.forget`."""

from deploy.kafka.broker import RUN_DATA, forget

if __name__ == "__main__":
    forget(RUN_DATA)
