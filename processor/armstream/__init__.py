"""Armstream: online learning of ensemble weights from fills, on Kafka, exactly once."""

__version__ = "0.1.0"
