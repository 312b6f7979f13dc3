/* floor.py in C: the same records consumed and produced in the same transactions, without work.
 *
 * client_floor NAME=VALUE.. with bootstrap.servers, group, input, output, batch; SIGTERM ends it. librdkafka, its
 * settings, batches and calls are those of floor.py; what is left out is Python and its client. */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 100
#define START_MS 30000
#define PARTITIONS 256

static volatile sig_atomic_t ending;
static char why[512];

static void end(int number) { (void)number; ending = 1; }

static void need(int holds, const char *what, const char *reason) {
    if (!holds) {
        fprintf(stderr, "%s: %s\n", what, reason);
        exit(1);
    }
}

static void good(rd_kafka_error_t *error, const char *what) {
    if (error) need(0, what, rd_kafka_error_string(error));
}

static const char *told(int count, char **words, const char *name) {
    size_t length = strlen(name);
    for (int i = 1; i < count; i++)
        if (!strncmp(words[i], name, length) && words[i][length] == '=') return words[i] + length + 1;
    need(0, name, "is not told");
    return NULL;
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *const (*settings)[2]) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (; (*settings)[0]; settings++)
        need(!rd_kafka_conf_set(conf, (*settings)[0], (*settings)[1], why, sizeof why), (*settings)[0], why);
    rd_kafka_t *made = rd_kafka_new(type, conf, why, sizeof why);
    need(made != NULL, "client", why);
    return made;
}

/* One transaction. */
static void pass_on(rd_kafka_t *consumer, rd_kafka_t *producer, rd_kafka_topic_t *topic, rd_kafka_message_t **messages,
                    int count) {
    static int counts[PARTITIONS];
    static int64_t ends[PARTITIONS];
    static rd_kafka_message_t *chunks[PARTITIONS];
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < count; i++) {
        need(!messages[i]->err, "message", rd_kafka_err2str(messages[i]->err));
        need(messages[i]->partition < PARTITIONS, "message", "too many partitions");
        counts[messages[i]->partition]++;
    }
    for (int p = 0; p < PARTITIONS; p++)
        if (counts[p]) {
            chunks[p] = calloc(counts[p], sizeof **chunks);
            counts[p] = 0;
        }
    for (int i = 0; i < count; i++) {
        int p = messages[i]->partition;
        rd_kafka_message_t *record = &chunks[p][counts[p]++];
        record->key = messages[i]->key, record->key_len = messages[i]->key_len;
        record->payload = messages[i]->payload, record->len = messages[i]->len;
        ends[p] = messages[i]->offset + 1;
    }
    const char *source = rd_kafka_topic_name(messages[0]->rkt);
    rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(8);
    good(rd_kafka_begin_transaction(producer), "begin");
    for (int p = 0; p < PARTITIONS; p++)
        if (counts[p]) {
            int queued = rd_kafka_produce_batch(topic, p, RD_KAFKA_MSG_F_COPY, chunks[p], counts[p]);
            need(queued == counts[p], "produce", "not all records were queued");
            rd_kafka_topic_partition_list_add(offsets, source, p)->offset = ends[p];
            free(chunks[p]);
        }
    rd_kafka_consumer_group_metadata_t *member = rd_kafka_consumer_group_metadata(consumer);
    good(rd_kafka_send_offsets_to_transaction(producer, offsets, member, -1), "offsets");
    good(rd_kafka_commit_transaction(producer, -1), "commit");
    rd_kafka_consumer_group_metadata_destroy(member);
    rd_kafka_topic_partition_list_destroy(offsets);
}

int main(int count, char **words) {
    const char *servers = told(count, words, "bootstrap.servers"), *group = told(count, words, "group");
    int batch = atoi(told(count, words, "batch"));
    char name[256];
    snprintf(name, sizeof name, "%s-floor", group);
    signal(SIGTERM, end);
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, (const char *const[][2]){{"bootstrap.servers", servers},
                                                         {"group.id", group},
                                                         {"enable.auto.commit", "false"},
                                                         {"auto.offset.reset", "earliest"},
                                                         {"isolation.level", "read_committed"},
                                                         {"fetch.queue.backoff.ms", "5"},
                                                         {NULL, NULL}});
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, (const char *const[][2]){{"bootstrap.servers", servers},
                                                         {"transactional.id", name},
                                                         {"retry.backoff.ms", "1"},
                                                         {"linger.ms", "5"},
                                                         {"queue.buffering.max.messages", "1000000"},
                                                         {NULL, NULL}});
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *inputs = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(inputs, told(count, words, "input"), RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(consumer, inputs);
    need(!error, "subscribe", rd_kafka_err2str(error));
    good(rd_kafka_init_transactions(producer, START_MS), "init");
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, told(count, words, "output"), NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    rd_kafka_message_t **messages = calloc(batch, sizeof *messages);
    while (!ending) {
        messages[0] = rd_kafka_consumer_poll(consumer, WAIT_MS);
        if (!messages[0]) continue;
        int taken = 1 + (int)rd_kafka_consume_batch_queue(queue, 0, messages + 1, batch - 1);
        pass_on(consumer, producer, topic, messages, taken);
        for (int i = 0; i < taken; i++) rd_kafka_message_destroy(messages[i]);
    }
    return 0;
}
