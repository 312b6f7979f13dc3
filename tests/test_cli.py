"""The commands as a shell sees them: exit codes, where lines go, and what is never imported."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from armstream import __version__, cli
from armstream.resources import resource
from armstream.settings import Settings

pytestmark = pytest.mark.usefixtures("logging_as_before")

ROOT = Path(__file__).parents[1]
COMMANDS = [
    ["run"],
    ["demo"],
    ["topics"],
    ["topics", "create"],
    ["topics", "check"],
    ["arms"],
    ["arms", "add"],
    ["arms", "remove"],
    ["arms", "reset"],
    ["arms", "set-bound"],
    ["arms", "pause"],
    ["arms", "resume"],
    ["arms", "list"],
    ["experts"],
    ["experts", "add"],
    ["experts", "remove"],
    ["cat"],
    ["dead-letters"],
    ["dead-letters", "list"],
    ["dead-letters", "show"],
    ["dead-letters", "resend"],
    ["reset"],
    ["reset", "to-snapshots"],
    ["reset", "anew"],
    ["explain"],
    ["verify"],
    ["watch"],
    ["check-config"],
]
ARGUMENTS = {
    "add": ["book", "lstm"],
    "remove": ["book", "lstm"],
    "reset": ["book"],
    "set-bound": ["book", "60"],
    "pause": ["book"],
    "resume": ["book"],
    "cat": ["trades"],
    "show": ["trades:3:1042"],
    "resend": ["trades:3:1042", "--reason", "the feed sent 0"],
    "anew": ["--group", "desk-2", "--suffix=-2"],
    "explain": ["desk", "--version", "3"],
}


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ARMSTREAM__"):
            monkeypatch.delenv(name)


def shell(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "armstream.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "processor"), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def raw_shell(
    *arguments: str | bytes, environment: Mapping[str, str] | Mapping[bytes, bytes]
) -> subprocess.CompletedProcess[bytes]:
    """The same with bytes."""
    given = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    return subprocess.run(
        [sys.executable, "-m", "armstream.cli", *arguments],
        env={**os.environb, b"PYTHONPATH": os.fsencode(ROOT / "processor"), **given},
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_each_command_shows_an_example_of_it(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([*command, "--help"])
    assert exit_.value.code == 0
    example = capsys.readouterr().out.split("example: ")[1]
    assert f"armstream {' '.join(command)}" in " ".join(example.split())


def test_help_lists_the_commands_and_nothing_that_is_not_there_yet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out.split("COMMAND\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in shown.splitlines() if line[4] != " "] == [
        "run",
        "demo",
        "topics",
        "arms",
        "experts",
        "cat",
        "dead-letters",
        "reset",
        "explain",
        "verify",
        "watch",
        "check-config",
    ]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert (exit_.value.code, capsys.readouterr().out) == (0, f"armstream {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["topics"],
        ["topics", "delete"],
        ["run", "--wings"],
        ["run", "--skip", "trades:1"],
        ["run", "--skip", "trades:1:-5"],
        ["run", "--skip", "trades:x:5"],
        ["run", "--skip", ":1:5"],
        ["verify", "--yaml"],
        ["watch", "--http", "8080"],
        ["watch", "--http", ":8080"],
        ["watch", "--http", "127.0.0.1:65536"],
        ["watch", "--http", "127.0.0.1:http"],
        ["explain", "desk"],
        ["explain", "--version", "3"],
        ["explain", "desk", "--version", "0"],
        ["explain", "desk", "--version", "3", "--at", "2026-11-28"],
        ["explain", "desk", "--at", "yesterday"],
        ["arms"],
        ["arms", "add", "book"],
        ["arms", "pause", "book", "ridge"],
        ["arms", "add", "book", "--", "--"],
        ["arms", "set-bound", "book", "--", "--"],
        ["experts", "remove", "book", "--", "--"],
        ["experts", "add", "book"],
        ["cat"],
        ["cat", "trades", "--last", "-1"],
        ["cat", "trades", "--from", "yesterday"],
        ["dead-letters", "show", "trades:3"],
        ["dead-letters", "resend", "trades:3:1042"],
        ["dead-letters", "resend", "trades:3:1042", "--reason", "x", "--set", "quantity"],
        ["reset"],
        ["reset", "to-snapshots", "trades:0:5"],
        ["reset", "anew", "--group", "desk-2"],
        ["reset", "anew", "--suffix=-2"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert "usage: armstream" in capsys.readouterr().err


def test_check_config_shows_what_a_run_would_have_and_ok(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kafka: {client: {sasl.username: desk}}\nonline_learning: {families: [a, b]}\n")
    environment = {"ARMSTREAM__KAFKA__GROUP_ID": "desk", "ARMSTREAM__KAFKA__CLIENT__SASL_PASSWORD": "hunter"}
    done = shell("check-config", "--config", str(path), environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    *_, arms, ok = done.stdout.splitlines()
    values = yaml.safe_load(done.stdout)
    assert values["kafka"]["group_id"] == "desk"
    assert values["kafka"]["client"] == {"sasl.username": "desk", "sasl.password": "********"}
    assert (arms, ok) == ("# arms: a, b", "# ok")


@pytest.mark.parametrize(
    "command",
    [
        command
        for command in COMMANDS
        if command not in (["topics"], ["arms"], ["experts"], ["dead-letters"], ["reset"])
    ],
    ids=" ".join,
)
def test_bad_settings_are_1_with_every_error_before_anything_starts(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("limits: {arms: 1}\nonline_learning: {gamma: 2}\n")
    done = shell(*command, *ARGUMENTS.get(command[-1], []), "--config", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"limits.arms: must be greater than or equal to 2, not '1' ({path})",
        f"online_learning.gamma: must be less than or equal to 1, not '2' ({path})",
    ]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_an_encoding_has_not_is_shown_by_its_escape(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('online_learning: {families: [é, 市, "\\e[31m"]}', encoding="utf-8")
    environment = {"PYTHONIOENCODING": encoding, "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = raw_shell("check-config", "--config", str(path), environment=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)
    e_acute = "\\xe9" if encoding == "ascii" else "é"
    assert shown.endswith(f"# arms: {e_acute}, \\u5e02, \\x1b[31m\n# ok\n")


def test_arguments_and_variables_that_are_no_utf_8_are_refused_in_a_line() -> None:
    for arguments, environment, code, said in (
        (["check-config", b"\xff\x1b"], {}, 2, b"unrecognized arguments: \\udcff\\x1b\n"),
        (["arms", "pause", b"\xff"], {}, 2, b"argument bandit: is no UTF-8\n"),
        (
            ["check-config"],
            {b"ARMSTREAM__KAFKA__GROUP_ID": b"\xff"},
            1,
            b"kafka.group_id: a name or a text in it holds",
        ),
    ):
        done = raw_shell(*arguments, environment=environment)
        assert (done.returncode, done.stdout) == (code, b"")
        assert said in done.stderr
        assert b"Traceback" not in done.stderr


def test_check_config_prints_yaml_to_its_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('online_learning: {families: [007, "x\\ny", "\\u202e"]}', encoding="utf-8")
    assert cli.main(["check-config", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    path.write_text(shown, encoding="utf-8")
    assert cli.main(["check-config", "--config", str(path)]) == 0
    assert capsys.readouterr().out == shown
    assert yaml.safe_load(shown)["online_learning"]["families"] == ["007", "x\ny", "\u202e"]


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("security.protocol: hunter-a", 'Invalid value "********" for configuration property "security.protocol"'),
        ("topic.blacklist: (hunter-a", 'Failed to parse pattern "********"'),
        ("sasl.pasword: hunter-a", 'No such configuration property: "sasl.pasword"'),
        ("sasl.jaas.config: hunter-a", "Java JAAS configuration is not supported"),
        ("{security.protocol: SSL, ssl.key.pem: hunter-a}", "ssl.key.pem failed: not in PEM format?"),
    ],
)
def test_what_librdkafka_refuses_is_said_without_the_value(
    client: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"kafka: {{client: {client if client[0] == '{' else f'{{{client}}}'}}}")
    assert cli.main(["check-config", "--config", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "hunter" not in shown.err


def test_check_config_refuses_what_librdkafka_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARMSTREAM__KAFKA__CLIENT__SECURITY_PROTOCL", "SSL")
    assert cli.main(["check-config"]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", 'kafka.client: No such configuration property: "security.protocl"\n')


def test_the_demo_with_arms_that_it_has_not_is_1_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--for", "1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("demo: the demo has no family lightgbm")
    assert Path(said.split("--config ")[1].strip()) == ROOT / "config" / "demo.yaml"


def test_topics_without_a_broker_is_1_and_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("armstream.access._REQUEST_SECONDS", 0.5)
    assert cli.main(["topics", "check"]) == 1
    assert capsys.readouterr().err.startswith("Kafka at 127.0.0.1:1: ")


def test_verify_without_a_broker_is_1_and_says_for_which_it_waits_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("armstream.access._REQUEST_SECONDS", 2.5)
    assert cli.main(["verify", "--json"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    waits, failed = shown.err.splitlines()
    assert waits == "waiting for Kafka at 127.0.0.1:1, 2.5 s at most"
    assert failed.startswith("verify: Kafka at 127.0.0.1:1: ")


def test_explain_asks_for_the_moment_in_utc_and_says_which_broker_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """14:32:07 in New York is 19:32:07 UTC in November; without a zone, and as a number, it is UTC."""
    moments = [cli._moment(text) for text in ("2026-11-28T14:32:07-05:00", "2026-11-28 19:32:07", "1795894327")]
    assert moments == [1_795_894_327_000_000] * 3
    monkeypatch.setenv("ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("armstream.access._REQUEST_SECONDS", 0.5)
    assert cli.main(["explain", "desk", "--version", "1"]) == 1
    assert capsys.readouterr().err.startswith("explain: Kafka at 127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "book", "lstm", "--weight", "-1"], "the initial weight must be from 0"),
        (["pause", ""], "bandit_id must be 1 to 200 bytes"),
    ],
)
def test_a_command_that_nobody_would_take_is_not_sent(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["arms", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_arms_without_a_broker_is_1_and_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARMSTREAM__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("armstream.access._REQUEST_SECONDS", 0.5)
    for arguments in (["list"], ["reset", "book"]):
        assert cli.main(["arms", *arguments]) == 1
        assert capsys.readouterr().err.startswith("Kafka at 127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cat", "trades", "--follow", "--until", "1h"], "--follow goes on until Ctrl-C"),
        (["dead-letters", "list", "--class", "BROKEN"], "--class BROKEN is none of UNKNOWN, DECODE, VALIDATION"),
        (["dead-letters", "resend", "trades:3:1042", "--reason", " "], "--by and --reason must not be empty"),
        (["dead-letters", "resend", "t:3:1", "--reason", "x", "--value-file", "no-such"], "--value-file no-such: "),
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_of_records_is_1_and_a_line_before_anything_is_read(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err.startswith(words)


def test_a_line_of_json_stays_one_where_the_encoding_has_not_all_of_it() -> None:
    script = r"from armstream import cli; cli._write('{\"name\": \"é\U0001f600\"}', flush=True)"
    environment = {"PYTHONPATH": str(ROOT / "processor"), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, check=True
    )
    assert done.stdout == rb'{"name": "\u00e9\ud83d\ude00"}' + b"\n"


class Loop:
    """Stands where the loop is, which wants a broker; what it is called with is all that is asked here."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.skip: object = None

    def run(self, settings: Settings, *, skip: frozenset[tuple[str, int, int]]) -> int:
        self.settings, self.skip = settings, skip
        return 1


def test_run_gives_the_loop_settings_instance_and_skips_and_its_exit_code_to_the_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("topics: {prefix: eu-, trades: [fills, closes]}\n")
    loop = Loop()
    monkeypatch.setitem(sys.modules, "armstream.runtime.run", loop)
    skips = ["--skip", "eu-fills:3:1042", "--skip", "eu-commands:0:7"]
    assert cli.main(["run", "--config", str(path), "--instance", "b", *skips]) == 1
    assert loop.settings is not None
    assert (loop.settings.instance, loop.settings.topics.prefix) == ("b", "eu-")
    assert loop.skip == frozenset({("eu-fills", 3, 1042), ("eu-commands", 0, 7)})


def test_a_skip_of_what_is_not_an_input_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--skip", "weights:0:1"]) == 1
    assert capsys.readouterr().err == "--skip: weights is not an input topic, trades, commands are\n"


def test_the_demo_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "bokeh_sampledata", None)  # as if it were not installed
    assert cli.main(["demo", "--config", str(resource("config", "demo.yaml")), "--for", "1"]) == 1
    assert capsys.readouterr().err.endswith("bokeh_sampledata is not installed: pip install 'armstream[demo]'\n")


def test_the_screen_of_watch_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("rich", "rich.console", "rich.live"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name in ("armstream.screen", "armstream.watch.terminal")]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["watch"]) == 1
    assert "rich" in (said := capsys.readouterr().err)
    assert said.endswith("is not installed: pip install 'armstream[demo]'\n")


def test_nothing_but_the_demo_needs_the_demos_packages() -> None:
    """check-config loads settings, learning, stages and the Kafka client; --help not even numpy."""
    for command, banned in {"check-config": ["rich", "bokeh_sampledata"], "--help": ["numpy", "pydantic"]}.items():
        code = f"""
import sys
from armstream import cli
try:
    cli.main([{command!r}])
except SystemExit:
    pass
print([name for name in {banned} if name in sys.modules])
"""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT / "processor")},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_who_stops_reading_the_lines_ends_a_command_without_a_word() -> None:
    """As `| head` does; check-config is one that writes without a broker."""
    command = [sys.executable, "-m", "armstream.cli", "check-config"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (1, "")
