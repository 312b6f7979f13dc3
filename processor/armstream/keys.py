"""What records are keyed by, and which partition a key belongs to. Law: one key means one thing, on every topic.

A bandit's records are keyed by its bandit_id, which holds no NUL: so a key with a NUL in it is never a bandit's. A
position's begins with its bandit's; what begins with a NUL is a page's, where a number follows it, or a task's.
"""

TASK_KEY = b"\0task"  # what is about a task as a whole
CLAIM_PREFIX = b"\0group\0"


def claim_key(group: str, instance: str) -> bytes:
    """Each process has its own, so that none is written twice and compaction keeps their order."""
    return CLAIM_PREFIX + f"{group}\0{instance}".encode()


def is_bandits(key: bytes) -> bool:
    """Whether a snapshot with this key is a bandit's."""
    return key != b"" and b"\0" not in key


def is_positions(key: bytes) -> bool:
    """Whether a snapshot with this key is a position's, or a page of one."""
    first, *rest = key.split(b"\0", 2)
    return rest != [] if first else len(rest) == 2 and rest[0].isdigit()


def is_of(key: bytes | None, bandit_id: bytes) -> bool:
    """Whether a record with this key is about the bandit: about itself, a position of it, or a page of one."""
    if key is None or key == bandit_id:
        return key is not None
    if not key.startswith(b"\0"):
        return key.startswith(bandit_id + b"\0")
    _, number, *rest = key.split(b"\0", 2)
    return number.isdigit() and rest != [] and rest[0].startswith(bandit_id + b"\0")


def position_key(bandit_id: str, position_id: str) -> str:
    """No bandit_id holds a NUL, so no two positions share a key."""
    return bandit_id + "\0" + position_id


def page_key(bandit_id: str, position_id: str, number: int) -> str:
    """Begins with a NUL, as no position's does: no bandit_id is empty."""
    return f"\0{number}\0{bandit_id}\0{position_id}"


def murmur2(key: bytes) -> int:
    """Kafka's murmur2 of a key as an unsigned 32-bit integer (org.apache.kafka.common.utils.Utils.murmur2)."""
    m, mask, length = 0x5BD1E995, 0xFFFFFFFF, len(key)
    h = (0x9747B28C ^ length) & mask
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        h = h * m & mask ^ ((k ^ k >> 24) * m & mask)
    if whole < length:
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(key: bytes, partition_count: int) -> int:
    """The partition that Kafka's default partitioner gives to a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count
