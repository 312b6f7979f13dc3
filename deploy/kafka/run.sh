#!/bin/sh
# What apache/kafka's script of this name does: KAFKA_* settings become properties, the storage is formatted once, and
# the broker takes this process's place. Log levels are those of log4j2.xml: KAFKA_LOG4J_* are not read.
set -eu

config=/opt/kafka/config
export CLUSTER_ID="${CLUSTER_ID:-QXJtc3RyZWFtLUthZmthMQ}"
if ! said=$(java -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' kafka.docker.KafkaDockerWrapper setup \
    --default-configs-dir /etc/kafka/docker --mounted-configs-dir /mnt/shared/config --final-configs-dir "$config" 2>&1)
then
    case $said in
    *"already formatted"*) ;;
    *)
        echo "$said" >&2
        exit 1
        ;;
    esac
fi
# shellcheck disable=SC2086 # options are words
exec java ${KAFKA_HEAP_OPTS:--Xmx1g} ${KAFKA_OPTS:-} -cp '/opt/kafka/libs/*' \
    -Dlog4j2.configurationFile=/etc/kafka/docker/log4j2.xml kafka.Kafka "$config/server.properties"
