"""Kafka: all I/O and all control flow."""
