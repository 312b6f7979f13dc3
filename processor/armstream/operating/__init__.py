"""What an operator asks while processors run: an ordinary client of Kafka, which shares no state with any of them."""
