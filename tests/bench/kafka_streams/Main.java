import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.Stores;

/**
 * Armstream's main job in Kafka Streams, exactly once, for the bench: {@code Main SETTINGS}, a file of properties.
 *
 * <p>{@code trades}, {@code weights}, {@code rewards} name topics, {@code arms} the arms, {@code audit} says whether
 * rewards are published; everything that begins with {@code streams.} goes to Kafka Streams as it is. SIGTERM ends it.
 */
final class Main {
    private static final String OWN = "streams.";

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        try (Reader file = Files.newBufferedReader(Path.of(arguments[0]))) {
            settings.load(file);
        }
        KafkaStreams streams = new KafkaStreams(topology(settings), config(settings));
        CountDownLatch failed = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            failed.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            boolean isClosed = streams.close(Duration.ofSeconds(15));
            Runtime.getRuntime().halt(isClosed && failed.getCount() > 0 ? 0 : 1); // a signal would make it 143
        }));
        streams.start();
        failed.await();
        System.exit(1);
    }

    private static Topology topology(Properties settings) {
        byte[][] arms = Arrays.stream(settings.getProperty("arms").split(","))
                .map(name -> name.getBytes(StandardCharsets.UTF_8))
                .toArray(byte[][]::new);
        boolean isAudited = Boolean.parseBoolean(settings.getProperty("audit"));
        var reader = new ByteArrayDeserializer();
        var writer = new ByteArraySerializer();
        Topology topology = new Topology();
        topology.addSource("trades", reader, reader, settings.getProperty("trades").split(","));
        topology.addProcessor("learning", () -> new Learning(arms, isAudited), "trades");
        for (String store : new String[] {Learning.POSITIONS, Learning.BANDITS}) {
            var inMemory = Stores.inMemoryKeyValueStore(store);
            var cached = Stores.keyValueStoreBuilder(inMemory, Serdes.Bytes(), Serdes.ByteArray()).withCachingEnabled();
            topology.addStateStore(cached, "learning");
        }
        topology.addSink(Learning.WEIGHTS_SINK, settings.getProperty("weights"), writer, writer, "learning");
        if (isAudited) {
            topology.addSink(Learning.REWARDS_SINK, settings.getProperty("rewards"), writer, writer, "learning");
        }
        return topology;
    }

    private static Properties config(Properties settings) {
        Properties config = new Properties();
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
        settings.stringPropertyNames().stream()
                .filter(name -> name.startsWith(OWN))
                .forEach(name -> config.put(name.substring(OWN.length()), settings.getProperty(name)));
        return config;
    }
}
