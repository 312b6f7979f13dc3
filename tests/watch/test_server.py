"""The page's server over real sockets: what it answers, and what it refuses."""

import asyncio
import csv
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from io import StringIO
from typing import Any

import pytest

from armstream.settings import Settings
from armstream.watch import server
from armstream.watch.board import Board
from armstream.watch.explaining import NotExplained
from armstream.watch.server import SECURITY, hosts_of, serve_page
from tests.watch.records import NOON, letter, reward, vector

HOSTILE = '<script>alert("1")</script>'


def settings_with(**watch: object) -> Settings:
    return Settings.model_validate({"watch": {"hosts": ["watch.desk.example"], **watch}})


@pytest.fixture
def board() -> Board:
    board = Board(settings_with(), now=lambda: NOON)
    with board.folding() as history:
        for name in ("book", HOSTILE, "=cmd|' /C calc'!A0"):
            history.take_vector(0, vector(name), NOON)
            history.take_audit(0, reward(name), NOON)
        history.take_letter(0, 0, letter(), NOON)
    return board


def explain(bandit_id: str, version: int) -> str:
    if version > 1:
        raise NotExplained(404, f"no version {version}")
    return json.dumps({"bandit_id": bandit_id})


@pytest.fixture
def port(board: Board) -> Iterator[int]:
    with serve_page(settings_with(clients=2), board, "127.0.0.1", 0, explain) as bound:
        yield bound


def asked(
    port: int, path: str, method: str = "GET", host: str | None = None, **headers: str
) -> tuple[int, str, http.client.HTTPMessage]:
    """The status, the body and the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": host or f"127.0.0.1:{port}", **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body, response.headers


class Stream:
    """One client of /events."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])

    def next(self, name: str) -> Any:
        """The data of the next event of this name."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (line := self._file.readline()):
            if line == f"event: {name}\n".encode():
                return json.loads(self._file.readline().removeprefix(b"data: "))
        raise AssertionError(f"no {name} in 10 s")

    def read_to_its_end(self) -> None:
        """Fails where nothing comes for 10 s."""
        while self._file.readline():
            pass

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(stack: ExitStack, port: int) -> Stream:
    stream = Stream(port)
    stack.callback(stream.close)
    return stream


# What it refuses


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}", "", "10.0.0.1:{port}"],
)
def test_a_host_that_is_not_served_is_refused_for_every_page_so_that_no_name_of_elsewhere_reaches_it(
    port: int, host: str
) -> None:
    for path in ("/", "/events", "/bandit?id=book", "/csv?view=desk", "/livez", "/assets/watch.js"):
        status, body, _ = asked(port, path, host=host.format(port=port) or " ")
        assert status == 421, path
        assert "watch.hosts" in body


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "LOCALHOST:{port}", "watch.desk.example"]
)
def test_the_address_that_is_served_and_names_of_the_settings_are_taken(port: int, host: str) -> None:
    assert asked(port, "/livez", host=host.format(port=port))[0] == 200


def test_two_hosts_are_none(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(f"GET /livez HTTP/1.1\r\nHost: localhost:{port}\r\nHost: evil\r\n\r\n".encode())
        assert client.recv(1_000).split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost", "file://", "https://127.0.0.1:1"]
)
def test_a_foreign_origin_is_refused(port: int, origin: str) -> None:
    for path in ("/events", "/bandit?id=book"):
        assert asked(port, path, Origin=origin)[0] == 403


def test_its_own_origin_is_taken_also_behind_a_proxy_with_tls(port: int) -> None:
    assert asked(port, "/livez", Origin=f"http://127.0.0.1:{port}")[0] == 200
    assert asked(port, "/livez", host="watch.desk.example", Origin="https://watch.desk.example")[0] == 200


def test_another_site_may_lead_here_and_may_not_read(port: int) -> None:
    there = {"Sec_Fetch_Site": "cross-site"}
    assert asked(port, "/bandit?id=book", Sec_Fetch_Mode="cors", **there)[0] == 403
    assert asked(port, "/assets/watch.js", Sec_Fetch_Mode="no-cors", **there)[0] == 403
    assert asked(port, "/", Sec_Fetch_Mode="navigate", **there)[0] == 200
    assert asked(port, "/", Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_nothing_is_written(port: int, board: Board, method: str) -> None:
    before = board.snapshot()
    for path in ("/", "/events", "/bandit?id=book", "/explain?id=book&version=1"):
        status, _, headers = asked(port, path, method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert board.snapshot() == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/assets/../server.py", 404),
        ("/assets/..%2fserver.py", 404),
        ("/assets/%2e%2e/%2e%2e/settings.py", 404),
        ("/assets//etc/passwd", 404),
        ("/assets/", 404),
        ("/assets/watch.js%00.html", 404),
        ("//evil.example/", 400),
        ("http://evil.example/", 400),
        ("/%ff", 400),
        ("/nothing", 404),
        ("/bandit", 400),
        ("/bandit?id=", 400),
        ("/bandit?id=nobody", 404),
        ("/bandit?id=book&id=book", 400),
        ("/bandit?id=%ff", 400),
        ("/bandit?" + "&".join(f"a{number}=" for number in range(50)), 400),
        ("/bandit?id=" + "a" * 5_000, 400),
        ("/csv", 400),
        ("/csv?view=all", 400),
        ("/csv?view=bandit&id=book", 400),
        ("/csv?view=bandit&id=nobody&of=arms", 404),
        ("/explain?id=book&version=-1", 400),
        ("/explain?id=book&version=%C2%B2", 400),
        ("/explain?id=book&version=2", 404),
    ],
)
def test_what_is_not_there_or_odd_has_its_answer_and_the_next_request_is_served(
    port: int, path: str, status: int
) -> None:
    found, body, _ = asked(port, path)
    assert found == status, body
    assert body
    assert asked(port, "/livez")[0] == 200


def test_headers_that_are_too_long_are_refused(port: int) -> None:
    assert asked(port, "/", X="a" * 100_000)[0] == 431


def test_each_answer_has_the_headers_that_keep_a_browser_from_more(port: int) -> None:
    for path in (
        "/",
        "/assets/watch.js",
        "/bandit?id=book",
        "/nothing",
        "/csv?view=desk",
        "/explain?id=book&version=1",
    ):
        headers = asked(port, path)[2]
        assert [headers[name] for name, _ in SECURITY] == [value for _, value in SECURITY]
        assert headers["Set-Cookie"] is None
        assert headers["Cache-Control"] in ("no-store", "no-cache")
    assert "unsafe" not in dict(SECURITY)["Content-Security-Policy"]


def test_the_hosts_of_an_address() -> None:
    """Written out by hand."""
    settings = settings_with()
    named = {"watch.desk.example", "watch.desk.example:9"}
    loopback = {"127.0.0.1:9", "localhost:9", "[::1]:9"}
    assert hosts_of(settings, "127.0.0.1", 9) == loopback | named
    assert hosts_of(settings, "10.0.0.5", 9) == {"10.0.0.5:9"} | named
    assert hosts_of(settings, "::1", 9) == loopback | named
    assert {"10.0.0.5:80", "10.0.0.5"} <= hosts_of(settings, "10.0.0.5", 80)


# What it answers


def test_a_bandit_is_had_by_its_name_whatever_that_is(port: int) -> None:
    status, body, headers = asked(port, "/bandit?id=%3Cscript%3Ealert(%221%22)%3C/script%3E")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["row"]["bandit_id"] == HOSTILE


def test_csv_is_a_file_whose_names_run_as_nothing(port: int) -> None:
    _, body, headers = asked(port, "/csv?view=desk")
    assert headers["Content-Disposition"] == 'attachment; filename="armstream-desk.csv"'
    rows = list(csv.DictReader(StringIO(body)))
    assert {row["bandit_id"] for row in rows} == {"book", HOSTILE, "'=cmd|' /C calc'!A0"}
    assert rows[0]["time_utc"] == "2026-11-28T12:00:00.000Z"


def test_head_is_get_without_its_body_and_takes_no_place_among_those_who_listen(port: int, stack: ExitStack) -> None:
    for _ in range(4):
        assert asked(port, "/events", "HEAD")[:2] == (200, "")
    assert listening(stack, port).status == 200


def test_explain_is_asked_in_a_thread_and_its_refusals_are_answers(port: int) -> None:
    assert json.loads(asked(port, "/explain?id=book&version=1")[1]) == {"bandit_id": "book"}
    assert asked(port, "/explain?id=book&version=9")[:2] == (404, "no version 9\n")


def test_few_are_explained_at_once_and_the_others_are_told_when(board: Board) -> None:
    go_on = threading.Event()

    def slowly(*_: object) -> str:
        assert go_on.wait(10)
        return "{}"

    with serve_page(settings_with(), board, "127.0.0.1", 0, slowly) as bound, ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", bound), timeout=10))
            client.sendall(f"GET /explain?id=b&version=1 HTTP/1.1\r\nHost: localhost:{bound}\r\n\r\n".encode())
        deadline = time.monotonic() + 10
        while (found := asked(bound, "/explain?id=b&version=1"))[0] != 503:
            assert time.monotonic() < deadline
        assert found[2]["Retry-After"] == "5"
        assert asked(bound, "/livez")[0] == 200, "nobody waits for them"
        go_on.set()


# The stream


def test_a_client_begins_with_a_snapshot_and_hears_what_changes(port: int, board: Board, stack: ExitStack) -> None:
    stream = listening(stack, port)
    snapshot = stream.next("snapshot")
    assert [row["bandit_id"] for row in snapshot["bandits"]] == [HOSTILE, "=cmd|' /C calc'!A0", "book"]
    assert snapshot["topics"]["rewards"] == "rewards"
    with board.folding() as history:
        history.take_vector(0, vector("book", 2, (0.75, 0.25)), NOON)
        history.forget_bandit(HOSTILE)
    (row,) = stream.next("rows")["bandits"]
    assert (row["bandit_id"], row["weights"]) == ("book", [0.75, 0.25])
    assert stream.next("gone") == {"bandits": [HOSTILE]}
    assert stream.next("pulse")["state"] == "reading"


def test_what_changed_while_nobody_looked_stands_in_the_snapshot_of_who_comes(
    port: int, board: Board, stack: ExitStack
) -> None:
    first = listening(stack, port)
    first.next("snapshot")
    first.close()
    last = listening(stack, port)  # whose snapshot is made after the last turn
    last.next("snapshot")
    last.close()
    time.sleep(1.2)  # a turn
    with board.folding() as history:
        history.take_vector(0, vector("book", 5, (1.0, 0.0)), NOON)
    snapshot = listening(stack, port).next("snapshot")
    assert {row["bandit_id"]: row["version"] for row in snapshot["bandits"]}["book"] == 5


def test_more_clients_than_the_setting_are_told_so_and_one_that_leaves_makes_room(port: int, stack: ExitStack) -> None:
    first, second = listening(stack, port), listening(stack, port)
    assert (first.status, second.status) == (200, 200)
    first.next("snapshot")
    second.next("snapshot")
    status, body, headers = asked(port, "/events")
    assert (status, headers["Retry-After"]) == (503, "10")
    assert "watch.clients" in body
    first.close()
    deadline = time.monotonic() + 10
    while asked(port, "/events", "HEAD")[0] != 200:
        assert time.monotonic() < deadline, "the place of one that left is not free"
        time.sleep(0.1)


def test_what_waits_for_a_client_that_does_not_keep_up_never_grows_and_a_snapshot_takes_its_place() -> None:
    async def converse() -> None:
        listener = server._Listener((b"snapshot",))
        assert await listener.take() == b"snapshot"
        for number in range(1_000):
            listener.put(b"%d" % number)
            assert len(listener._pieces) <= server._PIECES_WAITING
        assert await listener.take() == b""
        assert listener.is_behind
        listener.put(b"lost")
        listener.catch_up(b"fresh")
        listener.put(b"next")
        assert await listener.take() == b"freshnext"
        assert not listener.is_behind

    asyncio.run(converse())


def test_a_client_that_reads_nothing_at_all_is_sent_away(
    board: Board, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("armstream.serving._REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(server, "ROWS_SECONDS", 0.01)
    wide = [f"arm-{number}" for number in range(5_000)]
    port = stack.enter_context(serve_page(settings_with(clients=1), board, "127.0.0.1", 0))
    slow = listening(stack, port)
    slow.next("snapshot")
    assert asked(port, "/events", "HEAD")[0] == 503, "the one place is taken"
    deadline, version = time.monotonic() + 20, 1
    while asked(port, "/events", "HEAD")[0] != 200:
        assert time.monotonic() < deadline, "it holds its place, and reads nothing"
        version += 1
        with board.folding() as history:
            history.take_vector(0, vector("wide", version, [1 / 5_000] * 5_000, wide), NOON)
        time.sleep(0.02)


def test_where_the_stream_fails_who_listens_is_sent_away_and_hears_all_when_it_comes_again(
    port: int, board: Board, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream = listening(stack, port)
    stream.next("snapshot")
    with monkeypatch.context() as patched:
        patched.setattr(board, "pulse", lambda: 1 / 0)
        stream.read_to_its_end()
    assert "the stream failed" in caplog.text
    again = listening(stack, port)
    again.next("snapshot")
    assert again.next("pulse")["state"] == "reading"


def test_it_is_gone_at_once_when_the_block_ends_also_with_clients_that_listen(board: Board) -> None:
    with serve_page(settings_with(), board, "127.0.0.1", 0) as bound:
        stream = Stream(bound)
        stream.next("snapshot")
        started = time.monotonic()
    assert time.monotonic() - started < 2
    stream.close()
