import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * What one trade does: its position realises segments, its bandit learns from each, and a vector follows.
 *
 * <p>With audit, each segment is published as a Reward, and a position that is done keeps its ids; without, it is
 * forgotten.
 */
final class Learning implements Processor<byte[], byte[], byte[], byte[]> {
    static final String POSITIONS = "positions";
    static final String BANDITS = "bandits";
    static final String WEIGHTS_SINK = "weights";
    static final String REWARDS_SINK = "rewards";
    static final byte[] REWARD = HexFormat.of().parseHex("c3012a1bf363dc8df47e");

    private static final long LOGGED = 1;
    private static final long CURRENT = 2;

    private final byte[][] arms;
    private final boolean isAudited;
    private final AvroWriter out = new AvroWriter();
    private final Map<String, Long> cut = new TreeMap<>();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<Bytes, byte[]> positions;
    private KeyValueStore<Bytes, byte[]> bandits;

    Learning(byte[][] arms, boolean isAudited) {
        this.arms = arms;
        this.isAudited = isAudited;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        positions = context.getStateStore(POSITIONS);
        bandits = context.getStateStore(BANDITS);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        RecordMetadata source = context.recordMetadata().orElseThrow();
        cut.put(source.topic(), source.offset() + 1);
        Trade trade = Trade.read(record.value());
        Bytes positionKey = key(trade.banditId(), trade.positionId());
        byte[] stored = positions.get(positionKey);
        Position position = stored == null ? new Position() : Position.read(stored);
        Bytes banditKey = Bytes.wrap(trade.banditId());
        byte[] before = bandits.get(banditKey);
        Bandit bandit = before == null ? new Bandit(arms) : Bandit.read(before, arms);
        long versionBefore = bandit.version();
        position.apply(trade, segment -> {
            Bandit.Learned learned = bandit.learn(segment, position.arm(), position.propensity());
            if (isAudited) {
                publish(REWARDS_SINK, record, reward(trade, position, segment, bandit, learned));
            }
        });
        if (bandit.version() > versionBefore) {
            bandits.put(banditKey, bandit.write(out));
            publish(WEIGHTS_SINK, record, bandit.vector(trade.banditId(), trade, out));
        }
        if (position.isDone() && !isAudited) {
            positions.delete(positionKey);
        } else {
            positions.put(positionKey, position.write(out));
        }
    }

    private void publish(String sink, Record<byte[], byte[]> cause, byte[] value) {
        context.forward(cause.withValue(value), sink);
    }

    private byte[] reward(
            Trade trade, Position position, Position.Segment segment, Bandit bandit, Bandit.Learned learned) {
        out.begin(REWARD).text(trade.banditId()).number(bandit.version()).text(trade.positionId());
        out.text(segment.fillId()).text(segment.closeId());
        out.real(segment.quantity()).real(segment.rewardBps()).real(segment.weight());
        out.flag(true).flag(segment.isFirst()).number(bandit.totalSteps());
        out.number(1).text(position.arm()).real(1);
        out.present().real(learned.propensity()).present().real(learned.estimate()).end();
        out.present().number(Double.isNaN(position.propensity()) ? CURRENT : LOGGED).present().real(learned.eta());
        out.number(trade.tsEvent()).text(new byte[0]).number(cut.size());
        cut.forEach((topic, next) -> out.text(topic.getBytes(StandardCharsets.UTF_8)).number(next));
        return out.end().bytes();
    }

    private static Bytes key(byte[] banditId, byte[] positionId) {
        byte[] key = new byte[banditId.length + 1 + positionId.length];
        System.arraycopy(banditId, 0, key, 0, banditId.length);
        System.arraycopy(positionId, 0, key, banditId.length + 1, positionId.length);
        return Bytes.wrap(key);
    }
}
