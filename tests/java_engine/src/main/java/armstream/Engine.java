package armstream;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.stream.Collectors;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Trades one bandit's arms on its published weights: reads `weights` to the end, draws an arm of those that are not
 * flat, sends a fill with every arm's signal and its close, and waits for the vector that the close caused. A JSON line
 * for each position.
 *
 * <p>Arguments: bootstrap servers, prefix of the topics, folder of the schemas, bandit_id, arms (a,b,c), positions, seed.
 */
public final class Engine {
  private static final Duration POLL = Duration.ofMillis(100);
  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final double QUANTITY = 100.0;
  private static final double ENTRY = 150.0;
  private static final double EXIT = 150.5;
  private static final List<String> VIEWS = List.of("BUY", "SELL", "FLAT");

  private final KafkaConsumer<byte[], byte[]> consumer;
  private final KafkaProducer<byte[], byte[]> producer;
  private final BinaryMessageDecoder<GenericRecord> vectors;
  private final Schema fill;
  private final Schema close;
  private final String trades;
  private final String banditId;
  private GenericRecord vector; // the newest, null before the first

  private Engine(String servers, String prefix, Path schemas, String banditId) throws IOException {
    Map<String, Object> reading = Map.of("bootstrap.servers", servers, "isolation.level", "read_committed");
    consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    Map<String, Object> writing = Map.of("bootstrap.servers", servers, "enable.idempotence", true, "acks", "all");
    producer = new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer());
    vectors = new BinaryMessageDecoder<>(GenericData.get(), schema(schemas, "WeightVector"));
    fill = schema(schemas, "Fill");
    close = schema(schemas, "Close");
    trades = prefix + "trades";
    this.banditId = banditId;
    readToTheEnd(prefix + "weights");
  }

  public static void main(String[] given) throws Exception {
    Engine engine = new Engine(given[0], given[1], Path.of(given[2]), given[3]);
    List<String> arms = List.of(given[4].split(","));
    Random random = new Random(Long.parseLong(given[6]));
    for (int position = 0; position < Integer.parseInt(given[5]); position++) {
      engine.trade(arms, random);
    }
    engine.producer.close(PATIENCE);
    engine.consumer.close();
  }

  private static Schema schema(Path folder, String name) throws IOException {
    return new Schema.Parser().parse(folder.resolve(name + ".avsc").toFile());
  }

  private void trade(List<String> known, Random random) throws IOException {
    List<String> arms = vector == null ? known : column("name").stream().map(Object::toString).toList();
    List<Double> published = vector == null
        ? arms.stream().map(arm -> 1.0 / arms.size()).toList()
        : column("probability").stream().map(Double.class::cast).toList();
    Map<String, String> views = viewsOf(arms, random);
    List<Double> probabilities = awake(arms, published, views);
    int arm = draw(probabilities, random);
    String side = views.get(arms.get(arm));
    String positionId = UUID.randomUUID().toString();
    long version = vector == null ? 0 : (Long) vector.get("version");
    send(new GenericRecordBuilder(fill)
        .set("event_id", "f-" + positionId).set("bandit_id", banditId).set("position_id", positionId)
        .set("instrument_id", "AAPL").set("side", new GenericData.EnumSymbol(fill.getField("side").schema(), side))
        .set("quantity", QUANTITY).set("price", ENTRY).set("ts_event", now())
        .set("arm", arms.get(arm)).set("propensity", probabilities.get(arm)).set("probabilities", probabilities)
        .set("eta", vector == null ? null : vector.get("eta")).set("weights_version", version)
        .set("signals", symbols(views)).build());
    send(new GenericRecordBuilder(close)
        .set("event_id", "c-" + positionId).set("bandit_id", banditId).set("position_id", positionId)
        .set("quantity", QUANTITY).set("price", EXIT).set("fees", 0.5).set("slippage", 0.2)
        .set("ts_event", now()).build());
    waitForTheVectorOf("c-" + positionId);
    System.out.println(String.format(
        Locale.ROOT,
        "{\"arm\": \"%s\", \"propensity\": %s, \"weights_version\": %d, \"version\": %d, \"probabilities\": %s,"
            + " \"signals\": %s}",
        arms.get(arm), probabilities.get(arm), version, (Long) vector.get("version"), column("probability"),
        views.entrySet().stream().map(view -> "\"" + view.getKey() + "\": \"" + view.getValue() + "\"").collect(
            Collectors.joining(", ", "{", "}"))));
  }

  /** What each model says, of which one at least would buy. */
  private static Map<String, String> viewsOf(List<String> arms, Random random) {
    Map<String, String> views = new LinkedHashMap<>();
    arms.forEach(arm -> views.put(arm, VIEWS.get(random.nextInt(VIEWS.size()))));
    views.put(arms.get(random.nextInt(arms.size())), "BUY");
    return views;
  }

  private Map<String, GenericData.EnumSymbol> symbols(Map<String, String> views) {
    Schema signal = fill.getField("signals").schema().getValueType();
    Map<String, GenericData.EnumSymbol> symbols = new LinkedHashMap<>();
    views.forEach((arm, view) -> symbols.put(arm, new GenericData.EnumSymbol(signal, view)));
    return symbols;
  }

  /** A model that is flat cannot be drawn; the rest is renormalised. */
  private static List<Double> awake(List<String> arms, List<Double> probabilities, Map<String, String> views) {
    List<Double> left = new ArrayList<>();
    for (int arm = 0; arm < arms.size(); arm++) {
      left.add(views.get(arms.get(arm)).equals("FLAT") ? 0.0 : probabilities.get(arm));
    }
    double mass = left.stream().mapToDouble(Double::doubleValue).sum();
    return left.stream().map(probability -> probability / mass).toList();
  }

  private List<Object> column(String field) {
    return ((List<?>) vector.get("arms")).stream().map(arm -> ((GenericRecord) arm).get(field)).collect(
        Collectors.toList());
  }

  private static int draw(List<Double> probabilities, Random random) {
    double left = random.nextDouble();
    int last = 0;
    for (int arm = 0; arm < probabilities.size() && left >= 0; arm++) {
      left -= probabilities.get(arm);
      last = probabilities.get(arm) > 0 ? arm : last;
    }
    return last;
  }

  private static long now() {
    return ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
  }

  /** Keyed by bandit_id; the client's own partitioner, murmur2, finds its task. Avro's single-object encoding. */
  private void send(GenericRecord event) throws IOException {
    ByteBuffer encoded = new BinaryMessageEncoder<GenericRecord>(GenericData.get(), event.getSchema()).encode(event);
    byte[] value = new byte[encoded.remaining()];
    encoded.get(value);
    producer.send(new ProducerRecord<>(trades, banditId.getBytes(StandardCharsets.UTF_8), value), (sent, failure) -> {
      if (failure != null) {
        throw new IllegalStateException(failure);
      }
    });
    producer.flush();
  }

  private void readToTheEnd(String weights) throws IOException {
    List<TopicPartition> partitions = consumer.partitionsFor(weights).stream()
        .map(one -> new TopicPartition(weights, one.partition())).toList();
    consumer.assign(partitions);
    consumer.seekToBeginning(partitions);
    Map<TopicPartition, Long> ends = new HashMap<>(consumer.endOffsets(partitions));
    Instant deadline = Instant.now().plus(PATIENCE);
    while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
      follow(deadline, "the end of " + weights);
    }
  }

  private void waitForTheVectorOf(String closeId) throws IOException {
    Instant deadline = Instant.now().plus(PATIENCE);
    while (vector == null || !closeId.equals(vector.get("cause_event_id").toString())) {
      follow(deadline, "the vector of " + closeId);
    }
  }

  /** A version that is not above the last is dropped: a broker that was killed may publish an old one late. */
  private void follow(Instant deadline, String what) throws IOException {
    if (Instant.now().isAfter(deadline)) {
      throw new IllegalStateException("not within " + PATIENCE.toSeconds() + " s: " + what);
    }
    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
      if (record.value() == null || !banditId.equals(new String(record.key(), StandardCharsets.UTF_8))) {
        continue;
      }
      GenericRecord next = vectors.decode(record.value());
      if (vector == null || (Long) next.get("version") > (Long) vector.get("version")) {
        vector = next;
      }
    }
  }
}
