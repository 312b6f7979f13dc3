"""A cut is the next offset of every input topic at the moment an output was applied."""

from armstream.codec import decode, encode_cut, encode_reward
from armstream.events import Reward
from armstream.runtime.publication import cuts_of
from tests.runtime.records import ReadRecord

REWARD = Reward("b", 1, "p", "f", "c", 1.0, 2.0, 1.0, False, False, 0, (), None, None, 5)


def cut_behind(cut: bytes) -> dict[str, int]:
    reward = decode(encode_reward(REWARD, cut))
    assert isinstance(reward, Reward)
    return dict(reward.cut)


def test_each_cut_holds_what_was_applied_up_to_its_index_of_both_topics() -> None:
    records = [
        ReadRecord("fills", 0, 10, b"b", b""),
        ReadRecord("closes", 0, 20, b"b", b""),
        ReadRecord("fills", 0, 13, b"b", b""),
        ReadRecord("fills", 0, 14, b"b", b""),
    ]
    cuts, after = cuts_of(records, {"fills": 9, "closes": 18, "commands": 0}, [0, 1, 1, 2])
    assert list(map(cut_behind, cuts)) == [
        {"fills": 11, "closes": 18, "commands": 0},
        {"fills": 11, "closes": 21, "commands": 0},
        {"fills": 11, "closes": 21, "commands": 0},
        {"fills": 14, "closes": 21, "commands": 0},
    ]
    assert after == {"fills": 15, "closes": 21, "commands": 0}


def test_a_batch_without_outputs_still_moves_the_offsets() -> None:
    cuts, after = cuts_of([ReadRecord("trades", 2, 4, b"b", b"")], {"trades": 3, "commands": 7}, [])
    assert (cuts, after) == ([], {"trades": 5, "commands": 7})


def test_a_cut_keeps_the_order_of_the_inputs() -> None:
    assert cut_behind(encode_cut({"b": 1, "a": 2})) == {"b": 1, "a": 2}
    assert encode_cut({"b": 1, "a": 2}) != encode_cut({"a": 2, "b": 1})
