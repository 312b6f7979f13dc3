"""The screen of any cluster: what the board knows, drawn as `make run` draws it."""

import pytest
from rich.console import Console

from armstream.screen import plain_line, render
from armstream.settings import Settings
from armstream.watch.board import Board, Trouble
from armstream.watch.facts import GroupFacts, PlaceFacts
from armstream.watch.terminal import view_of
from tests.watch.records import NOON, SECOND, letter, reward, vector


@pytest.fixture
def board() -> Board:
    board = Board(Settings(), now=lambda: NOON)
    with board.folding() as history:
        for at, share in enumerate((0.5, 0.6, 0.9), 1):
            history.take_vector(0, vector("\x1b[31mbook", at, (share, 1 - share)), NOON + at * SECOND)
            history.take_audit(0, reward("\x1b[31mbook", at), NOON + at * SECOND)
        history.take_letter(0, 0, letter(), NOON)
    board.note_group(GroupFacts(NOON, "STABLE", (), {("trades", 0): PlaceFacts(95, 100)}))
    board.note_live()
    return board


def drawn(board: Board) -> str:
    console = Console(width=100, height=20, color_system=None)
    with console.capture() as capture:
        console.print(render(view_of(board, 61.0), 100, 20))
    return capture.get()


def test_it_draws_the_bandits_with_their_weights_and_what_is_behind(board: Board) -> None:
    text = drawn(board)
    assert "\\x1b[31mbook  v3  live  B 100.0 bps" in text
    assert "\x1b" not in text
    assert "lag 5" in text
    assert "3 rewards" in text
    assert "1 dead letters" in text
    (ridge,) = [line for line in text.splitlines() if line.startswith("ridge")]
    assert "90%" in ridge
    assert "armstream watch --http shows more" in text
    assert "localhost:9092  armstream  live  1:01" in text


def test_what_keeps_it_from_reading_stands_where_the_figures_would(board: Board) -> None:
    board.note_trouble("group", Trouble("no-broker", "Kafka does not answer. Look."))
    assert "Kafka does not answer. Look." in drawn(board)
    assert "Kafka does not answer. Look." in plain_line(view_of(board, 1.0))


def test_where_nothing_was_published_it_says_what_to_do() -> None:
    board = Board(Settings(), now=lambda: NOON)
    board.note_live()
    assert "start a processor (armstream run)" in drawn(board)
