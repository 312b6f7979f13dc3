import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Writes Avro's binary encoding in the order of a schema, into one buffer that it uses again for each record. */
final class AvroWriter {
    private final ByteBuffer buffer = ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN);

    AvroWriter begin() {
        buffer.clear();
        return this;
    }

    AvroWriter begin(byte[] header) {
        buffer.clear();
        buffer.put(header);
        return this;
    }

    AvroWriter number(long value) {
        long zigzag = (value << 1) ^ (value >> 63);
        while ((zigzag & ~0x7fL) != 0) {
            buffer.put((byte) ((zigzag & 0x7f) | 0x80));
            zigzag >>>= 7;
        }
        buffer.put((byte) zigzag);
        return this;
    }

    AvroWriter real(double value) {
        buffer.putDouble(value);
        return this;
    }

    AvroWriter flag(boolean value) {
        buffer.put((byte) (value ? 1 : 0));
        return this;
    }

    AvroWriter text(byte[] value) {
        number(value.length);
        buffer.put(value);
        return this;
    }

    /** The second branch of a union whose first is null. */
    AvroWriter present() {
        return number(1);
    }

    /** Ends an array or a map, or is an empty one. */
    AvroWriter end() {
        return number(0);
    }

    byte[] bytes() {
        return Arrays.copyOf(buffer.array(), buffer.position());
    }
}
