"""The first offset and the end of a partition. Law: a leader that died is not asked for ever."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition


def watermarks(consumer: Consumer, topic: str, number: int, seconds: float) -> tuple[int, int] | None:
    """As `Consumer.get_watermark_offsets`: None, or KafkaException, where nobody told them, after 3 times `seconds` at
    most.

    librdkafka asks the leader that it knows. Where that one is gone the request times out, which is the partition's
    absence to it and no reason to ask who leads now.
    """
    partition = TopicPartition(topic, number)
    try:
        return consumer.get_watermark_offsets(partition, seconds)
    except KafkaException as failure:
        if failure.args[0].code() != KafkaError._UNKNOWN_PARTITION:
            raise
    consumer.list_topics(topic, seconds)
    return consumer.get_watermark_offsets(partition, seconds)
