"""The commands, and the only place that wires the parts together. Exit codes: 0 done, 1 failed, 2 wrong usage.

Each command imports what it needs when it runs: `--help` answers at once, and only `demo` needs the demo's packages.
"""

import argparse
import getpass
import json
import os
import re
import select
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from armstream import __version__
from armstream.operating.moment import moment_micros
from armstream.printable import json_printable, printable
from armstream.resources import resource
from armstream.text_file import read_text

if TYPE_CHECKING:
    from armstream.events import Action, Close, Command, Fill
    from armstream.operating.cat import Selection
    from armstream.settings import Settings

DEMO_PACKAGES = {"bokeh_sampledata", "pandas", "rich"}

Record = tuple[str, int, int]

_LONGEST_WAIT_SECONDS = 86_400.0
_WATCH_ADDRESS = "127.0.0.1:8080"
_MOST_MESSAGE_CHARACTERS = 500
_SINGLE = ("bandit", "arm", "expert", "value")
_MOST_LAST = 100_000  # records that are held


class Parser(argparse.ArgumentParser):
    """One whose errors, which quote the arguments, are lines of a terminal too."""

    def error(self, message: str) -> NoReturn:
        shown = printable(message)
        super().error(shown if len(shown) <= _MOST_MESSAGE_CHARACTERS else f"{shown[:_MOST_MESSAGE_CHARACTERS]}...")

    def parse_known_args(self, *arguments: Any, **named: Any) -> Any:
        """Of a second -- argparse makes an empty list, in place of one value."""
        parsed, left = super().parse_known_args(*arguments, **named)
        lacking = [name for name in _SINGLE if getattr(parsed, name, None) == []]
        if lacking:
            self.error(f"-- is no value of {', '.join(lacking)}")
        return parsed, left


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code; argparse itself exits with 2 on wrong usage, 0 on --help."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what its encoding has not is shown by its escape
    try:
        parsed = _parser(with_demo=arguments[:1] == ["demo"]).parse_args(arguments)
        code: int = parsed.command(parsed)
    except KeyboardInterrupt:
        return _failed("interrupted")
    except BrokenPipeError:  # of who reads our lines; what of them was not read, nobody knows
        _write_no_more()
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in DEMO_PACKAGES:
            raise
        return _failed(f"{error.name} is not installed: pip install 'armstream[demo]'")
    return code


def _parser(with_demo: bool) -> Parser:
    parser = Parser(
        prog="armstream",
        description="Learns which trading model deserves weight, online, from the desk's own fills on Kafka.",
        epilog="example: armstream topics create && armstream run",
    )
    parser.add_argument("--version", action="version", version=f"armstream {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = _add(
        commands,
        "run",
        "process fills and closes until SIGTERM or Ctrl-C",
        "armstream run --config mine.yaml --instance b --skip trades:3:1042",
    )
    run.add_argument(
        "--instance", type=_text, metavar="NAME", help="this process's name among its twins (default: the host name)"
    )
    run.add_argument(
        "--skip",
        type=_record,
        action="append",
        default=[],
        metavar="TOPIC:PARTITION:OFFSET",
        help="send this input record to dead letters unread; may be given again",
    )
    run.set_defaults(command=_run)

    its_arms = resource("config", "demo.yaml")
    example = f"armstream demo --config {its_arms} --rate 200 --for 60"
    demo = _add(commands, "demo", "trade real prices with simulated engines", example)
    demo.set_defaults(command=_demo)
    if with_demo:
        from armstream.demo import add_arguments  # noqa: PLC0415 - loads numpy and the engine

        add_arguments(demo)

    topics = commands.add_parser(
        "topics", help="make the topics, or say what differs", epilog="example: armstream topics check"
    )
    actions = topics.add_subparsers(title="commands", required=True, metavar="COMMAND")
    create = _add(actions, "create", "make the topics that are missing", "armstream topics create --config mine.yaml")
    create.set_defaults(command=_topics_create)
    check = _add(actions, "check", "say what differs, and what mends it", "armstream topics check --config mine.yaml")
    check.set_defaults(command=_topics_check)

    _add_arms(commands)
    _add_cat(commands)
    _add_dead_letters(commands)
    _add_reset(commands)

    _add_explain(commands)

    verify = _add(
        commands,
        "verify",
        "replay what was published, and say whether it is right; nothing in Kafka is written",
        "armstream verify --config mine.yaml --state /var/lib/armstream/verify --follow",
    )
    verify.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    verify.add_argument(
        "--state", type=Path, metavar="DIR", help="keep there where it got to, and go on from there the next time"
    )
    verify.add_argument(
        "--follow", action="store_true", help="go on while processors run, until Ctrl-C (0) or a difference (1)"
    )
    verify.set_defaults(command=_verify)

    watch = _add(
        commands,
        "watch",
        "show what is learned while it runs, on a page or in this terminal; nothing is written",
        f"armstream watch --config mine.yaml --http {_WATCH_ADDRESS}",
    )
    watch.add_argument(
        "--http",
        type=_address,
        nargs="?",
        const=_address(_WATCH_ADDRESS),
        metavar="HOST:PORT",
        help=f"serve a page there (default {_WATCH_ADDRESS}) instead of a screen here; it has no login",
    )
    watch.set_defaults(command=_watch)

    check_config = _add(
        commands,
        "check-config",
        "show the settings that a run would have",
        "ARMSTREAM__KAFKA__GROUP_ID=mine armstream check-config --config mine.yaml",
    )
    check_config.set_defaults(command=_check_config)
    return parser


# Commands of `armstream arms` and `armstream experts`: the action, what it is for, its example.
_ASKED_OF_ARMS: dict[str, tuple["Action", str, str]] = {
    "add": ("ADD_ARM", "add an arm; what was learned of the others is kept", "add eu-equities lstm --weight 0.5"),
    "remove": ("REMOVE_ARM", "remove an arm; its open positions close and teach nothing", "remove eu-equities lstm"),
    "reset": ("RESET", "forget what was learned; the arms stay", "reset eu-equities --reason 'a new feed'"),
    "set-bound": ("SET_BOUND", "clip rewards to this bound from now on", "set-bound eu-equities 60"),
    "pause": ("PAUSE", "learn nothing until it is resumed; rewards are still published", "pause eu-equities"),
    "resume": ("RESUME", "learn again", "resume eu-equities"),
}
_ASKED_OF_EXPERTS: dict[str, tuple["Action", str, str]] = {
    "add": ("ADD_EXPERT", "add an expert; trust among the others is kept", "add eu-equities regime --weight 0.5"),
    "remove": ("REMOVE_EXPERT", "remove an expert; trust among the others is kept", "remove eu-equities regime"),
}


def _add_arms(commands: "argparse._SubParsersAction[Parser]") -> None:
    arms = commands.add_parser(
        "arms", help="change a bandit while it runs, or list them", epilog="example: armstream arms list"
    )
    actions = arms.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (action, purpose, example) in _ASKED_OF_ARMS.items():
        asked = _add(actions, name, purpose, f"armstream arms {example}")
        _ask(asked, action, "arm")
        if name == "set-bound":
            asked.add_argument("value", type=float, metavar="BPS")
    lists = _add(actions, "list", "show bandits, arms and weights", "armstream arms list eu-equities")
    lists.add_argument("bandit", type=_text, nargs="?", help="one alone (default: all)")
    lists.set_defaults(command=_arms_list)

    experts = commands.add_parser(
        "experts",
        help="change whom a bandit with experts may trust",
        epilog="example: armstream experts add eu-equities regime",
    )
    actions = experts.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (action, purpose, example) in _ASKED_OF_EXPERTS.items():
        _ask(_add(actions, name, purpose, f"armstream experts {example}"), action, "expert")


def _add_cat(commands: "argparse._SubParsersAction[Parser]") -> None:
    cat = _add(
        commands,
        "cat",
        "show a topic's records as lines of JSON, by time",
        "armstream cat rewards --bandit eu-equities --from 2h | jq .record.reward_bps",
    )
    cat.add_argument("topic", type=_text, metavar="TOPIC", help="a topic of the settings, by its name or its setting")
    cat.add_argument("--follow", action="store_true", help="go on with each record that comes, until Ctrl-C")
    _add_selection(cat, "records")
    cat.set_defaults(command=_cat)


def _add_dead_letters(commands: "argparse._SubParsersAction[Parser]") -> None:
    letters = commands.add_parser(
        "dead-letters",
        help="show inputs that were refused, or send them again",
        epilog="example: armstream dead-letters list --from 1d",
    )
    actions = letters.add_subparsers(title="commands", required=True, metavar="COMMAND")
    lists = _add(
        actions, "list", "a line for each dead letter", "armstream dead-letters list --class VALIDATION --last 20"
    )
    lists.add_argument("--class", type=str.upper, dest="error_class", metavar="CLASS", help="those of one class alone")
    _add_selection(lists, "dead letters")
    lists.set_defaults(command=_dead_letters_list)

    place = "TOPIC:PARTITION:OFFSET"
    show = _add(
        actions, "show", "show one whole, with what its record says", "armstream dead-letters show trades:3:1042"
    )
    show.add_argument("place", type=_record, metavar=place, help="the record's place, or the dead letter's own")
    show.add_argument("--json", action="store_true", help="one line of JSON, with the record's event in source_event")
    show.set_defaults(command=_dead_letters_show)

    resend = _add(
        actions,
        "resend",
        "send records that were refused again, as they are or mended; nothing is written before all can be",
        "armstream dead-letters resend trades:3:1042 --set quantity=100 --reason 'the feed sent 0' --dry-run",
    )
    resend.add_argument("places", type=_record, nargs="+", metavar=place, help="as of show")
    resend.add_argument(
        "--set", type=_change, action="append", default=[], metavar="FIELD=VALUE", help="mend a field; may be repeated"
    )
    resend.add_argument("--value-file", type=Path, metavar="FILE", help="the whole record as JSON, as in source_event")
    resend.add_argument("--reason", type=_text, required=True, help="goes with the record, in a header")
    resend.add_argument("--by", type=_text, metavar="NAME", help="who asks, in a header (default: the user's name)")
    resend.add_argument("--dry-run", action="store_true", help="show what would be written, and write nothing")
    resend.add_argument(
        "--wait", type=_seconds, default=30.0, metavar="SECONDS", help="for what becomes of it (default 30)"
    )
    resend.set_defaults(command=_dead_letters_resend)


def _add_selection(parser: Parser, what: str) -> None:
    parser.add_argument("--bandit", type=_text, metavar="BANDIT", help=f"{what} of one alone, by its bandit_id")
    times = "2026-11-28T09:14 (UTC), seconds or milliseconds since 1970, or 15m, 2h, 3d for so long ago"
    parser.add_argument("--from", type=_moment_ms, dest="from_ms", metavar="TIME", help=f"not before: {times}")
    parser.add_argument("--until", type=_moment_ms, dest="until_ms", metavar="TIME", help="before this time")
    parser.add_argument("--last", type=_count, metavar="N", help=f"the last N {what} of those, of all partitions")


def _add_reset(commands: "argparse._SubParsersAction[Parser]") -> None:
    reset = commands.add_parser(
        "reset", help="the ways out where a start refuses", epilog="example: armstream reset to-snapshots --dry-run"
    )
    actions = reset.add_subparsers(title="commands", required=True, metavar="COMMAND")
    to_snapshots = _add(
        actions,
        "to-snapshots",
        "set the group's offsets back to those of its snapshots",
        "armstream reset to-snapshots --config mine.yaml --dry-run",
    )
    to_snapshots.add_argument(
        "--accept-topics",
        action="store_true",
        help="take the snapshots for these topics, which hold the same records at the same offsets",
    )
    to_snapshots.set_defaults(command=_reset_to_snapshots)
    anew = _add(
        actions,
        "anew",
        "make the topics of a new group that learns from the beginning, and show its settings",
        "armstream reset anew --config mine.yaml --group desk-2 --suffix=-2 --dry-run",
    )
    anew.add_argument("--group", required=True, help="the new group's name")
    anew.add_argument("--suffix", required=True, help="goes behind the names of the output topics")
    anew.add_argument(
        "--accept-deleted", action="store_true", help="begin with what is left where inputs lack their beginning"
    )
    anew.set_defaults(command=_reset_anew)
    for each in (to_snapshots, anew):
        each.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")


def _add_explain(commands: "argparse._SubParsersAction[Parser]") -> None:
    explain = _add(
        commands,
        "explain",
        "show why a bandit's weights moved: each reward and command, and the formula with its numbers",
        "armstream explain eu-equities --version 48213",
    )
    explain.add_argument("bandit", type=_text, help="its bandit_id")
    which = explain.add_mutually_exclusive_group(required=True)
    which.add_argument("--version", type=_version, metavar="N", help="the vector that this version was published with")
    which.add_argument(
        "--at",
        type=_moment,
        metavar="TIME",
        help="the newest vector by then: 2026-11-28T14:32:07 (UTC if not said), or 5m for five minutes ago",
    )
    explain.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    explain.add_argument(
        "--within", type=_seconds, default=600.0, metavar="SECONDS", help="give up after so many (default 600)"
    )
    explain.set_defaults(command=_explain)


def _ask(asked: Parser, action: "Action", what: str) -> None:
    """The arguments of one command to a bandit; `what` is added or removed."""
    asked.add_argument("bandit", type=_text, help="its bandit_id")
    verb = action.partition("_")[0]
    if verb in ("ADD", "REMOVE"):
        asked.add_argument(what, type=_text)
    if verb == "ADD":
        asked.add_argument(
            "--weight", type=float, dest="value", help="in units of the mean weight (default: 1, the mean)"
        )
    asked.add_argument("--reason", type=_text, default="", help="goes to the audit log")
    asked.add_argument("--id", type=_text, help="of the command, to ask again for the same (default: a new one)")
    asked.add_argument(
        "--wait", type=_seconds, default=30.0, metavar="SECONDS", help="for what becomes of it (default 30)"
    )
    asked.set_defaults(command=_asked, action=action)


def _add(commands: "argparse._SubParsersAction[Parser]", name: str, purpose: str, example: str) -> Parser:
    parser = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    parser.epilog = f"example: {example}"
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings, laid over the defaults; ARMSTREAM__* variables come last"
    )
    return parser


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # what stands for bytes that are none
        raise argparse.ArgumentTypeError("is no UTF-8") from None
    return text


def _seconds(text: str) -> float:
    seconds = float(text)  # a ValueError is argparse's to show
    if not 0 <= seconds <= _LONGEST_WAIT_SECONDS:
        raise argparse.ArgumentTypeError(f"must be from 0 to {_LONGEST_WAIT_SECONDS:.0f} seconds")
    return seconds


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError
    return host.removeprefix("[").removesuffix("]"), int(port)


_address.__name__ = "HOST:PORT"


def _version(text: str) -> int:
    version = int(text)  # a ValueError is argparse's to show
    if not 1 <= version < 2**63:
        raise argparse.ArgumentTypeError("must be 1 or more: versions count from 1")
    return version


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= _MOST_LAST:
        raise argparse.ArgumentTypeError(f"must be from 0 to {_MOST_LAST}")
    return count


_count.__name__ = "whole number"  # argparse says: invalid whole number value


def _moment_ms(text: str) -> int:
    return _moment(text) // 1_000


def _moment(text: str) -> int:
    """UTC microseconds."""
    try:
        return moment_micros(text, time.time_ns() // 1_000)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _change(text: str) -> tuple[str, str]:
    name, equals, value = _text(text).partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"must be FIELD=VALUE, got {text!r}")
    return name, value


def _record(text: str) -> Record:
    found = re.fullmatch(r"([a-zA-Z0-9._-]+):([0-9]{1,10}):([0-9]{1,19})", text)
    if found is None:
        raise ValueError
    return found[1], int(found[2]), int(found[3])


_record.__name__ = "TOPIC:PARTITION:OFFSET"  # argparse says: invalid TOPIC:PARTITION:OFFSET value


def _run(arguments: argparse.Namespace) -> int:
    overrides = {} if arguments.instance is None else {"instance": arguments.instance}
    settings = _settings(arguments, overrides)
    if settings is None:
        return 1
    inputs = settings.topics.names.inputs
    for topic, _, _ in arguments.skip:
        if topic not in inputs:
            return _failed(f"--skip: {topic} is not an input topic, {', '.join(inputs)} are")

    from armstream.runtime.run import run  # noqa: PLC0415 - loads the Kafka client

    return run(settings, skip=frozenset(arguments.skip))


def _demo(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.demo import run  # noqa: PLC0415 - needs the demo's packages
    from armstream.engine import FollowerError, PublishError  # noqa: PLC0415

    try:
        return run(arguments, settings)
    except (FollowerError, PublishError, TimeoutError, ValueError) as error:
        return _failed(f"demo: {error}")


def _topics_create(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.runtime.failures import Stopped  # noqa: PLC0415
    from armstream.runtime.topics import create  # noqa: PLC0415 - loads the Kafka client

    try:
        for name in create(settings, _tell):
            _say(f"made {name}")
        return _show_differences(settings)
    except Stopped as stopped:
        return _failed(str(stopped))


def _topics_check(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.runtime.failures import Stopped  # noqa: PLC0415 - loads the Kafka client

    try:
        return _show_differences(settings)
    except Stopped as stopped:
        return _failed(str(stopped))


def _show_differences(settings: "Settings") -> int:
    from armstream.access import check_rights  # noqa: PLC0415 - loads the Kafka client
    from armstream.runtime.topics import check, require  # noqa: PLC0415

    require(settings, check_rights(settings), _tell)
    differences = check(settings, _tell)
    for difference in differences:
        _say(str(difference))
    if not differences:
        _say("ok")
    return 1 if differences else 0


def _asked(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.events import Command  # noqa: PLC0415
    from armstream.operating.command import send  # noqa: PLC0415 - loads the Kafka client
    from armstream.runtime.failures import Stopped  # noqa: PLC0415
    from armstream.stages.validation import Refused, check_command  # noqa: PLC0415

    command = Command(
        f"cli-{uuid.uuid4()}" if arguments.id is None else arguments.id,
        arguments.bandit,
        arguments.action,
        time.time_ns() // 1_000,
        arm=getattr(arguments, "arm", None),
        value=getattr(arguments, "value", None),
        expert=getattr(arguments, "expert", None),
        reason=arguments.reason,
    )
    try:
        check_command(command)
        answer = send(settings, command, arguments.wait, _tell)
    except (Refused, Stopped) as refused:
        return _failed(str(refused))
    _say(answer.line)
    return 0 if answer.is_obeyed else 1


def _arms_list(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.operating.bandits import listed  # noqa: PLC0415 - loads the Kafka client

    return _lines(listed(settings, arguments.bandit, _tell))


def _cat(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    if arguments.follow and arguments.until_ms is not None:
        return _failed("--follow goes on until Ctrl-C, and --until ends before: give one of them")
    from armstream.operating.cat import cat  # noqa: PLC0415 - loads the Kafka client
    from armstream.runtime.failures import Stopped  # noqa: PLC0415

    if arguments.follow:
        _be_interruptible()
    lines = cat(settings, arguments.topic, _selection(arguments), follow=arguments.follow, say=_tell, is_read=_is_read)
    try:
        for line in lines:
            _write(line, flush=arguments.follow)
        sys.stdout.flush()
    except BrokenPipeError:
        _write_no_more()
    except KeyboardInterrupt:
        if not arguments.follow:
            raise
    except Stopped as stopped:
        sys.stdout.flush()
        return _failed(str(stopped))
    return 0


def _selection(arguments: argparse.Namespace) -> "Selection":
    from armstream.operating.cat import Selection  # noqa: PLC0415 - loads the Kafka client

    return Selection(arguments.bandit, arguments.from_ms, arguments.until_ms, arguments.last)


def _dead_letters_list(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.operating.dead_letters import listed  # noqa: PLC0415 - loads the Kafka client
    from armstream.operating.mending import ADVICE  # noqa: PLC0415

    if arguments.error_class not in (None, *ADVICE):
        return _failed(f"--class {arguments.error_class} is none of {', '.join(ADVICE)}")
    return _lines(listed(settings, _selection(arguments), arguments.error_class, _tell))


def _dead_letters_show(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.operating.dead_letters import show  # noqa: PLC0415 - loads the Kafka client

    return _lines(show(settings, arguments.place, as_json=arguments.json, say=_tell), arguments.json)


def _dead_letters_resend(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.operating.mending import Asked, Mend  # noqa: PLC0415
    from armstream.operating.resend import resend  # noqa: PLC0415 - loads the Kafka client
    from armstream.stages.validation import Refused, check_event  # noqa: PLC0415

    def judge(event: "Fill | Close | Command") -> None:
        try:
            check_event(event)
        except Refused as refused:
            raise ValueError(str(refused)) from refused

    try:
        by = _text(getpass.getuser()) if arguments.by is None else arguments.by
        whole = None if arguments.value_file is None else json.loads(read_text(arguments.value_file))
    except (KeyError, OSError, argparse.ArgumentTypeError):  # which of the first two, Python's version decides
        return _failed("the user has no name here: say who asks, --by NAME")
    except (ValueError, RecursionError) as error:
        return _failed(f"--value-file {arguments.value_file}: {error}")
    if not (by.strip() and arguments.reason.strip()):
        return _failed("--by and --reason must not be empty")
    return _lines(
        resend(
            settings,
            arguments.places,
            Mend(dict(arguments.set), whole),
            Asked(by, arguments.reason, time.time_ns() // 1_000),
            judge=judge,
            wait_seconds=arguments.wait,
            dry_run=arguments.dry_run,
            say=_tell,
        ),
        as_json=arguments.dry_run,
    )


def _lines(lines: Iterator[str], as_json: bool = False) -> int:
    """Shows each as it comes; what stops them is the last one."""
    from armstream.runtime.failures import Stopped  # noqa: PLC0415

    try:
        for line in lines:
            _write(line, flush=True) if as_json else _say(line)
    except Stopped as stopped:
        return _failed(str(stopped))
    return 0


def _reset_to_snapshots(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.operating.reset import to_snapshots  # noqa: PLC0415 - loads the Kafka client

    return _lines(to_snapshots(settings, accept_topics=arguments.accept_topics, dry_run=arguments.dry_run, say=_tell))


def _reset_anew(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.operating.anew import anew  # noqa: PLC0415 - loads the Kafka client

    return _lines(
        anew(
            settings,
            group=arguments.group,
            suffix=arguments.suffix,
            accept_deleted=arguments.accept_deleted,
            dry_run=arguments.dry_run,
            say=_tell,
        )
    )


def _explain(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.explain.bandit import NotThere, TooLong, explained, lines_of  # noqa: PLC0415 - loads the Kafka client
    from armstream.runtime.failures import Stopped  # noqa: PLC0415

    asked = {"version": arguments.version, "at_micros": arguments.at, "patience_seconds": arguments.within}
    try:
        told = explained(settings, arguments.bandit, say=_tell, **asked)
    except (NotThere, TooLong, Stopped) as nothing:
        return _failed(f"explain: {nothing}")
    for line in [told.as_json()] if arguments.json else lines_of(told):
        _say(line)
    return 1 if told.result == "differs" else 0


def _verify(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.verify.run import run  # noqa: PLC0415 - loads the Kafka client

    if arguments.follow:
        _be_interruptible()
    return run(settings, as_json=arguments.json, state=arguments.state, follow=arguments.follow)


def _watch(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.runtime.failures import Stopped  # noqa: PLC0415
    from armstream.watch.run import watch_page  # noqa: PLC0415 - loads the Kafka client

    try:
        if arguments.http is None:
            from armstream.watch.terminal import watch_screen  # noqa: PLC0415 - needs the demo's packages

            watch_screen(settings, _tell)
        else:
            host, port = arguments.http
            watch_page(settings, host, port, _tell)
    except Stopped as stopped:
        return _failed(str(stopped))
    return 0


def _be_interruptible() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts its background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)


def _check_config(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings is None:
        return 1
    from armstream.runtime.failures import Stopped  # noqa: PLC0415
    from armstream.runtime.topics import admin_client  # noqa: PLC0415 - loads the Kafka client

    try:
        admin_client(settings)  # what goes to librdkafka as it is, only librdkafka can judge; nothing is sent
    except Stopped as stopped:
        return _failed(str(stopped))
    print(settings.to_yaml(), end="")
    _say(f"# arms: {', '.join(settings.online_learning.arms)}")
    _say("# ok")
    return 0


def _settings(arguments: argparse.Namespace, overrides: dict[str, str] | None = None) -> "Settings | None":
    """The settings, with logging set up by them; None after their errors were shown."""
    from armstream import logs  # noqa: PLC0415
    from armstream.settings import SettingsError, load  # noqa: PLC0415 - loads pydantic and numpy

    try:
        settings = load(arguments.config, os.environ, overrides)
    except SettingsError as error:
        for line in error.lines:
            _tell(line)
        return None
    logs.configure(settings.log.level, settings.log.format, settings.kafka.secrets())
    for line in settings.renamed:
        _tell(line)
    return settings


def _write_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes there at the exit


def _say(line: str) -> None:
    print(printable(line), flush=True)


def _write(line: str, flush: bool) -> None:
    """A line of JSON, which stays one where the terminal's encoding has not all of it."""
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        line = json_printable(json.dumps(json.loads(line)))
    print(line, flush=flush)


def _is_read() -> bool:
    """Whether what reads our output, where that is a pipe, is still there."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _tell(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def _failed(line: str) -> int:
    _tell(line)
    return 1


if __name__ == "__main__":
    sys.exit(main())
