"""Reading a file ends, whatever stands under its name."""

import os
import threading
from pathlib import Path

import pytest

from armstream import text_file
from armstream.text_file import LARGEST_BYTES, UnreadableFile, read_text


def reason(path: Path) -> str:
    with pytest.raises(UnreadableFile) as refused:
        read_text(path)
    return str(refused.value)


def test_a_file_is_its_text_without_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbftr\xc3\xa4de\r\n")
    assert read_text(tmp_path / "a") == "träde\r\n"
    assert read_text(Path(os.devnull)) == ""


def test_what_is_no_file_of_text_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "utf-16").write_text("a: b", encoding="utf-16")
    (tmp_path / "latin").write_bytes(b"tr\xe4de")
    assert reason(tmp_path / "utf-16") == reason(tmp_path / "latin") == "it is not UTF-8"
    assert reason(tmp_path) == "it is a directory"
    assert reason(tmp_path / "none") == reason(Path("\udcff")) == "No such file or directory"
    assert reason(tmp_path / "latin" / "x") == "Not a directory"
    assert reason(Path("x" * 5_000)) == "File name too long"
    assert reason(Path("a\0b")) == reason(Path("\ud800")) == "no file can have this name"
    assert reason(Path("/dev/zero")) == f"it has more than {LARGEST_BYTES} bytes"


def test_a_pipe_is_read_to_its_end() -> None:
    """As `--config <(sops -d mine.yaml)` gives one."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(b"a: b")

    thread = threading.Timer(0.2, write)
    thread.start()
    try:
        assert read_text(Path(f"/dev/fd/{reading}")) == "a: b"
    finally:
        thread.join()
        os.close(reading)


def test_a_pipe_into_which_nobody_writes_is_waited_for_and_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "WAIT_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") == "nobody wrote to its end within 0.1 s"
