import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;

/** Exp3-IX with implicit exploration (Neu 2015), gamma 0, at the automatic rate sqrt(ln K / (K t)). */
final class Bandit {
    static final byte[] WEIGHT_VECTOR = HexFormat.of().parseHex("c3016b0b3daed66a46b8");

    private static final double REWARD_BOUND_BPS = 100;
    private static final double MIN_WEIGHT = 1e-10;
    private static final int WARM_START_STEPS = 500;
    private static final double BLEND_ALPHA = 0.3;
    private static final long WARMING = 1;
    private static final long LIVE = 2;
    private static final byte[] ALGORITHM = "exp3ix".getBytes(StandardCharsets.UTF_8);
    private static final byte[] ESTIMATOR = "implicit".getBytes(StandardCharsets.UTF_8);

    /** What a reward did: its rate, the propensity that it was divided by, and the estimate. */
    record Learned(double eta, double propensity, double estimate) {}

    private final byte[][] arms;
    private final double[] losses;
    private final double[] rewardsBps;
    private final long[] pulls;
    private long version;
    private long totalSteps;

    Bandit(byte[][] arms) {
        this.arms = arms;
        this.losses = new double[arms.length];
        this.rewardsBps = new double[arms.length];
        this.pulls = new long[arms.length];
    }

    long version() {
        return version;
    }

    long totalSteps() {
        return totalSteps;
    }

    Learned learn(Position.Segment segment, byte[] armName, double logged) {
        int arm = indexOf(armName);
        double eta = eta();
        double propensity = Double.isNaN(logged) ? weights(eta)[arm] : logged;
        double clipped = Math.min(Math.max(segment.rewardBps(), -REWARD_BOUND_BPS), REWARD_BOUND_BPS);
        double loss = (REWARD_BOUND_BPS - clipped) / (2 * REWARD_BOUND_BPS);
        double realised = segment.weight() * (loss - 0.5) + (segment.isFirst() ? 0.5 : 0);
        double estimate = realised / (propensity + eta / 2);
        losses[arm] += estimate;
        rewardsBps[arm] += segment.weight() * segment.rewardBps();
        if (segment.isFirst()) {
            totalSteps++;
            pulls[arm]++;
        }
        version++;
        return new Learned(eta, propensity, estimate);
    }

    /** The rate of the next decision. */
    private double eta() {
        return Math.sqrt(Math.log(arms.length) / (arms.length * (totalSteps + 1.0)));
    }

    private double[] weights(double eta) {
        double least = Arrays.stream(losses).min().orElseThrow();
        double[] weights = new double[losses.length];
        double sum = 0;
        for (int arm = 0; arm < weights.length; arm++) {
            weights[arm] = Math.max(Math.exp(-eta * (losses[arm] - least)), MIN_WEIGHT);
            sum += weights[arm];
        }
        for (int arm = 0; arm < weights.length; arm++) {
            weights[arm] /= sum;
        }
        return weights;
    }

    private int indexOf(byte[] name) {
        for (int arm = 0; arm < arms.length; arm++) {
            if (Arrays.equals(arms[arm], name)) {
                return arm;
            }
        }
        throw new IllegalArgumentException("an arm that the bandit does not have: " + new String(name));
    }

    byte[] vector(byte[] banditId, Trade cause, AvroWriter out) {
        double eta = eta();
        double[] weights = weights(eta);
        boolean isLive = totalSteps >= WARM_START_STEPS;
        out.begin(WEIGHT_VECTOR).text(banditId).number(version).text(ALGORITHM).text(ESTIMATOR).number(arms.length);
        for (int arm = 0; arm < arms.length; arm++) {
            out.text(arms[arm]).real(weights[arm]).real(weights[arm]);
        }
        out.end().real(0).real(eta).real(REWARD_BOUND_BPS).number(totalSteps);
        out.number(isLive ? LIVE : WARMING).real(isLive ? BLEND_ALPHA : 0);
        return out.text(cause.eventId()).number(cause.tsEvent()).end().bytes();
    }

    /** As it lies in the store. */
    byte[] write(AvroWriter out) {
        out.begin().number(version).number(totalSteps);
        for (int arm = 0; arm < arms.length; arm++) {
            out.real(losses[arm]).real(rewardsBps[arm]).number(pulls[arm]);
        }
        return out.bytes();
    }

    static Bandit read(byte[] stored, byte[][] arms) {
        Bandit bandit = new Bandit(arms);
        AvroReader in = new AvroReader(stored, 0);
        bandit.version = in.number();
        bandit.totalSteps = in.number();
        for (int arm = 0; arm < arms.length; arm++) {
            bandit.losses[arm] = in.real();
            bandit.rewardsBps[arm] = in.real();
            bandit.pulls[arm] = in.number();
        }
        return bandit;
    }
}
