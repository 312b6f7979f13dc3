"""The first offset and the end of a partition. Law: a leader that died is not asked for ever."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition


def watermarks(consumer: Consumer, topic: str, number: int, seconds: float) -> tuple[int, int] | None:
    """As `Consumer.get_watermark_offsets`: None, or KafkaException, where nobody told them, after 3 times `seconds` at
    most.

    librdkafka asks the leader that it knows. Where that one is gone the request times out, or its partition is unknown,
    and neither is a reason to it to ask who leads now.
    """
    partition = TopicPartition(topic, number)
    try:
        told = consumer.get_watermark_offsets(partition, seconds)
    except KafkaException:
        told = None
    if told is None:
        consumer.list_topics(topic, seconds)
        told = consumer.get_watermark_offsets(partition, seconds)
    return told


def told_watermarks(consumer: Consumer, topic: str, number: int, seconds: float) -> tuple[int, int]:
    """As watermarks. Raises KafkaException also where nobody told them: it is a request that timed out."""
    told = watermarks(consumer, topic, number, seconds)
    if told is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no offsets of {topic}:{number}"))
    return told
