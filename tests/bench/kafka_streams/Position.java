import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;

/** All fills and closes of one decision: the n-th unit closed realises the n-th unit filled. */
final class Position {
    private static final double ROUNDING = Math.ulp(1.0);

    /** A quantity of one fill that one close realises. `isFirst`: it is the first one of its decision. */
    record Segment(
            byte[] fillId, byte[] closeId, double quantity, double rewardBps, double weight, boolean isFirst) {}

    /** One fill or one close, and what of it is not matched. `weight` is a fill's part of the decision. */
    private static final class Leg {
        byte[] eventId;
        double quantity;
        double left;
        double price;
        double costs;
        double weight;
    }

    private final List<byte[]> fillIds = new ArrayList<>(2);
    private final List<byte[]> closeIds = new ArrayList<>(2);
    private final ArrayDeque<Leg> open = new ArrayDeque<>(2);
    private final ArrayDeque<Leg> waiting = new ArrayDeque<>(2);
    private boolean isCounted;
    private boolean isDone;
    private double filled;
    private double weighed;
    private double sign;
    private double multiplier;
    private double orderQuantity;
    private byte[] arm = {};
    private double propensity;

    byte[] arm() {
        return arm;
    }

    double propensity() {
        return propensity;
    }

    /** Filled and closed. */
    boolean isDone() {
        return isDone;
    }

    /** Takes a trade that is not known yet, and gives what it realises. */
    void apply(Trade trade, Consumer<Segment> realised) {
        List<byte[]> known = trade.isFill() ? fillIds : closeIds;
        if (known.stream().anyMatch(id -> Arrays.equals(id, trade.eventId()))) {
            return;
        }
        if (isDone) {
            throw new IllegalStateException("a trade of a position that is done: the bench's load has none");
        }
        known.add(trade.eventId());
        Leg leg = new Leg();
        leg.eventId = trade.eventId();
        leg.quantity = trade.quantity();
        leg.left = trade.quantity();
        leg.price = trade.price();
        leg.costs = trade.fees() + trade.slippage();
        if (trade.isFill()) {
            fill(trade, leg);
        } else {
            waiting.add(leg);
        }
        match(realised);
        boolean isFilled = !fillIds.isEmpty() && (Double.isNaN(orderQuantity) || filled >= orderQuantity * (1 - 1e-9));
        isDone = isFilled && open.isEmpty() && waiting.isEmpty();
    }

    private void fill(Trade trade, Leg leg) {
        sign = trade.sign();
        multiplier = trade.multiplier();
        orderQuantity = trade.orderQuantity();
        arm = trade.arm();
        propensity = trade.propensity();
        double whole = Double.isNaN(orderQuantity) ? trade.quantity() : orderQuantity;
        leg.weight = (1 - weighed) * Math.min(1, trade.quantity() / (whole - filled));
        filled += trade.quantity();
        weighed += leg.weight;
        open.add(leg);
    }

    private void match(Consumer<Segment> realised) {
        double rounding = (fillIds.size() + closeIds.size()) * ROUNDING;
        while (!open.isEmpty() && !waiting.isEmpty()) {
            Leg fill = open.peek();
            Leg close = waiting.peek();
            double quantity = Math.min(fill.left, close.left);
            take(quantity, fill, open, rounding);
            take(quantity, close, waiting, rounding);
            double net = sign * (close.price - fill.price) * quantity * multiplier;
            net -= fill.costs * quantity / fill.quantity;
            net -= close.costs * quantity / close.quantity;
            double rewardBps = net / (fill.price * quantity * multiplier) * 10_000;
            double weight = fill.weight * (quantity / fill.quantity);
            realised.accept(new Segment(fill.eventId, close.eventId, quantity, rewardBps, weight, !isCounted));
            isCounted = true;
        }
    }

    private static void take(double quantity, Leg leg, ArrayDeque<Leg> from, double rounding) {
        leg.left -= quantity;
        if (leg.left <= rounding * leg.quantity) {
            from.remove();
        }
    }

    /** As it lies in the store. Of a position that is done the ids stay, so that a duplicate is known. */
    byte[] write(AvroWriter out) {
        out.begin().flag(isDone);
        writeIds(out, fillIds);
        writeIds(out, closeIds);
        if (!isDone) {
            out.flag(isCounted).real(filled).real(weighed).real(sign).real(multiplier).real(orderQuantity);
            out.text(arm).real(propensity);
            writeLegs(out, open);
            writeLegs(out, waiting);
        }
        return out.bytes();
    }

    static Position read(byte[] stored) {
        Position position = new Position();
        AvroReader in = new AvroReader(stored, 0);
        position.isDone = in.flag();
        readIds(in, position.fillIds);
        readIds(in, position.closeIds);
        if (!position.isDone) {
            position.isCounted = in.flag();
            position.filled = in.real();
            position.weighed = in.real();
            position.sign = in.real();
            position.multiplier = in.real();
            position.orderQuantity = in.real();
            position.arm = in.text();
            position.propensity = in.real();
            readLegs(in, position.open);
            readLegs(in, position.waiting);
        }
        return position;
    }

    private static void writeIds(AvroWriter out, List<byte[]> ids) {
        out.number(ids.size());
        ids.forEach(out::text);
    }

    private static void readIds(AvroReader in, List<byte[]> ids) {
        for (long left = in.number(); left > 0; left--) {
            ids.add(in.text());
        }
    }

    private static void writeLegs(AvroWriter out, ArrayDeque<Leg> legs) {
        out.number(legs.size());
        for (Leg leg : legs) {
            out.text(leg.eventId).real(leg.quantity).real(leg.left).real(leg.price).real(leg.costs).real(leg.weight);
        }
    }

    private static void readLegs(AvroReader in, ArrayDeque<Leg> legs) {
        for (long left = in.number(); left > 0; left--) {
            Leg leg = new Leg();
            leg.eventId = in.text();
            leg.quantity = in.real();
            leg.left = in.real();
            leg.price = in.real();
            leg.costs = in.real();
            leg.weight = in.real();
            legs.add(leg);
        }
    }
}
