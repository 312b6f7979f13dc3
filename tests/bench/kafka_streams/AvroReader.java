import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Reads Avro's binary encoding in the order of a schema. Texts stay bytes: nothing here looks into them. */
final class AvroReader {
    private final byte[] bytes;
    private final ByteBuffer view;
    private int at;

    AvroReader(byte[] bytes, int from) {
        this.bytes = bytes;
        this.view = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        this.at = from;
    }

    /** A long, an int, the index of an enum's symbol or of a union's branch. */
    long number() {
        long zigzag = 0;
        int shift = 0;
        int read;
        do {
            read = bytes[at++];
            zigzag |= (long) (read & 0x7f) << shift;
            shift += 7;
        } while ((read & 0x80) != 0);
        return (zigzag >>> 1) ^ -(zigzag & 1);
    }

    double real() {
        double value = view.getDouble(at);
        at += Double.BYTES;
        return value;
    }

    boolean flag() {
        return bytes[at++] == 1;
    }

    byte[] text() {
        int length = (int) number();
        byte[] value = Arrays.copyOfRange(bytes, at, at + length);
        at += length;
        return value;
    }

    /** NaN is null. */
    double realOrNull() {
        return number() == 0 ? Double.NaN : real();
    }

    byte[] textOrNull() {
        return number() == 0 ? null : text();
    }

    void skipText() {
        skipBytes(number());
    }

    void skipNumberOrNull() {
        if (number() != 0) {
            number();
        }
    }

    void skipReals() {
        skipBlocks(() -> at += Double.BYTES);
    }

    void skipMapOfReals() {
        skipBlocks(() -> {
            skipText();
            at += Double.BYTES;
        });
    }

    void skipMapOfEnums() {
        skipBlocks(() -> {
            skipText();
            number();
        });
    }

    private void skipBytes(long length) {
        at += (int) length;
    }

    /** Arrays and maps come in blocks; the last one is empty. */
    private void skipBlocks(Runnable skipItem) {
        for (long count = number(); count != 0; count = number()) {
            if (count < 0) {
                skipBytes(number()); // a negative count has the block's size behind it
                continue;
            }
            for (; count > 0; count--) {
                skipItem.run();
            }
        }
    }
}
