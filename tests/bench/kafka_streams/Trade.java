import java.util.Arrays;
import java.util.HexFormat;

/** A fill or a close of the repository's schemas. NaN stands for what is null. */
record Trade(
        boolean isFill, byte[] eventId, byte[] banditId, byte[] positionId, double quantity, double price, long tsEvent,
        double fees, double slippage, double sign, double multiplier, double orderQuantity, byte[] arm,
        double propensity) {

    /** C3 01 and the schema's fingerprint stand before each record; schemas/ decides, and a test compares. */
    static final byte[] FILL = HexFormat.of().parseHex("c301e10305ea48e5f435");
    static final byte[] CLOSE = HexFormat.of().parseHex("c301524ba551dbbd56ed");

    private static final int BUY = 1;

    static Trade read(byte[] value) {
        if (startsWith(value, FILL)) {
            return fill(new AvroReader(value, FILL.length));
        }
        if (startsWith(value, CLOSE)) {
            return close(new AvroReader(value, CLOSE.length));
        }
        throw new IllegalArgumentException("neither a Fill nor a Close of the schemas that this was written for");
    }

    private static Trade fill(AvroReader in) {
        byte[] eventId = in.text();
        byte[] banditId = in.text();
        byte[] positionId = in.text();
        in.skipText(); // instrument_id
        double sign = in.number() == BUY ? 1 : -1;
        double quantity = in.real();
        double price = in.real();
        long tsEvent = in.number();
        double multiplier = in.real();
        double fees = in.real();
        in.number(); // exec_type
        in.skipText(); // currency
        double orderQuantity = in.realOrNull();
        in.textOrNull(); // exec_id
        in.textOrNull(); // exec_ref_id
        byte[] arm = in.textOrNull();
        double propensity = in.realOrNull();
        in.skipReals(); // probabilities
        in.realOrNull(); // eta
        in.skipNumberOrNull(); // weights_version
        in.skipMapOfReals(); // contributions
        in.skipMapOfReals(); // advice
        in.realOrNull(); // notional
        in.skipMapOfEnums(); // signals
        return new Trade(
                true, eventId, banditId, positionId, quantity, price, tsEvent, fees, 0, sign, multiplier,
                orderQuantity, arm, propensity).checked();
    }

    private static Trade close(AvroReader in) {
        byte[] eventId = in.text();
        byte[] banditId = in.text();
        byte[] positionId = in.text();
        double quantity = in.real();
        double price = in.real();
        long tsEvent = in.number();
        double fees = in.real();
        double slippage = in.real();
        boolean isInPrice = in.flag();
        return new Trade(
                false, eventId, banditId, positionId, quantity, price, tsEvent, fees, isInPrice ? 0 : slippage, 0, 0,
                Double.NaN, null, Double.NaN).checked();
    }

    private Trade checked() {
        boolean isLegal = quantity > 0 && price > 0 && (!isFill || multiplier > 0 && arm != null);
        if (!isLegal) {
            throw new IllegalArgumentException("the bench's load has only trades that are legal");
        }
        return this;
    }

    private static boolean startsWith(byte[] value, byte[] header) {
        return Arrays.equals(value, 0, header.length, header, 0, header.length);
    }
}
