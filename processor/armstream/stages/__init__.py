"""What a batch of events does to state: pure, deterministic, no clock, no randomness, no Kafka."""
