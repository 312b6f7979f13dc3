"""Faults of ours that end whatever touches a record of a certain kind, put into the program where it starts.

`python_path` makes a folder whose sitecustomize does that, for PYTHONPATH: a pill is the fill whose event_id is one of
PILLS, and the place where it cannot be stood.
"""

from pathlib import Path

PILLS = ("pill for the decoder", "pill for a stage", "pill for the encoder", "pill for headers")

_FAULTS = """
from armstream import wire
from armstream.runtime import intake, publication
from armstream.stages import pipeline

read, take, encode, headers = wire.read_fill, pipeline.take_fill, publication.encode, intake.headers_of


def read_fill(value):
    if b"pill for the decoder" in value:
        raise RuntimeError("cannot be decoded")
    return read(value)


def take_fill(state, fill):
    if fill.event_id in ("pill for a stage", "pill for headers"):
        raise RuntimeError("cannot be applied")
    return take(state, fill)


def encode_event(event):
    if any(each.event_id == "pill for the encoder" for each in getattr(event, "fills", ())):
        raise RuntimeError("cannot be encoded")
    return encode(event)


class Record:
    def __init__(self, record):
        self.record = record

    def headers(self):
        raise RuntimeError("cannot be read")

    def set_headers(self, headers):
        self.record.set_headers(headers)


def headers_of(record):
    return headers(Record(record) if b"pill for headers" in (record.value() or b"") else record)


wire.read_fill, pipeline.take_fill, publication.encode = read_fill, take_fill, encode_event
intake.headers_of = headers_of
"""


def python_path(folder: Path) -> str:
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_FAULTS, encoding="utf-8")
    return str(folder)
