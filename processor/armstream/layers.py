"""Settings as they are read, before anybody knows what they mean: layers of YAML, environment variables and files.

Law: mappings merge, an empty section changes nothing, everything else replaces; each value keeps its source; no error
shows what stands in a file, which may be a password.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from armstream.learning.old_names import todays
from armstream.text_file import UnreadableFile, read_text
from armstream.yaml_text import YamlError, is_null, read

ENVIRONMENT_PREFIX = "ARMSTREAM__"

SettingPath = tuple[str | int, ...]

_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # lone surrogates stand for bytes that are no UTF-8


class Layers:
    """Values laid over each other, with the source of each, what could not be read, and what has another name now."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.errors: list[str] = []
        self.renamed: list[str] = []
        self._sources: dict[SettingPath, str] = {}

    def lay(self, path: tuple[str, ...], value: object, source: str) -> None:
        """Lays a value over what is at `path`."""
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                self.lay((*path, name), inner, source)
            return
        if _is_no_text((*path, value)):
            self.errors.append(f"{shown_path(path)}: a name or a text in it holds a NUL or is no UTF-8 ({source})")
            return
        if path[:-1] == ("online_learning",) or (path[:2] == ("bandits", "overrides") and len(path) == 4):
            path, value = self._todays(path, value, source)
        at = self.values
        for name in path[:-1]:
            if not isinstance(at.get(name), dict):
                at[name] = {}
            at = at[name]
        if path and not (isinstance(at.get(path[-1]), dict) and (not value or is_null(value))):
            at[path[-1]] = {} if isinstance(value, Mapping) else value  # what is laid into it is not the layer's
            self._sources.pop(path, None)  # the latest stands last
            self._sources[path] = source

    def _todays(self, path: tuple[str, ...], value: object, source: str) -> tuple[tuple[str, ...], object]:
        """A setting of a learner by today's names."""
        name, renamed = todays(path[-1], value)
        if name != path[-1]:
            self.renamed.append(f"{shown_path(path)}: is called {name} now ({source})")
        elif renamed != value:
            self.renamed.append(f"{shown_path(path)}: {value} is called {renamed} now ({source})")
        return (*path[:-1], name), renamed

    def lay_file(self, path: Path, source: str | None = None) -> None:
        """Lays a YAML file; `source` is what errors call it, else its path."""
        try:
            values = read(read_text(path))
        except UnreadableFile as reason:
            self.errors.append(f"{path}: cannot be read: {reason}")
            return
        except YamlError as problem:
            self.errors.append(f"{path}: {problem}")
            return
        if is_null(values):
            return
        if not isinstance(values, dict):
            self.errors.append(f"{path}: must hold settings, one `name: value` a line")
            return
        self._lift_live_trading(values, path)
        self.lay((), values, source or str(path))

    def _lift_live_trading(self, values: dict[str, object], path: Path) -> None:
        """`online_learning` may stand under `live_trading`, as it does in files of trading engines."""
        nest = values.get("live_trading")
        if not isinstance(nest, dict) or "online_learning" not in nest:
            return
        if "online_learning" in values:
            self.errors.append(f"online_learning: is given twice, at the top and under live_trading ({path})")
        values["online_learning"] = nest.pop("online_learning")
        if not nest:
            del values["live_trading"]

    def lay_environment(self, environment: Mapping[str, str], is_text: Callable[[tuple[str, ...]], bool]) -> None:
        """Lays ARMSTREAM__SECTION__SETTING variables: as they are where the setting `is_text`, else as YAML."""
        for variable, text in sorted(environment.items()):
            if not variable.startswith(ENVIRONMENT_PREFIX):
                continue
            path = tuple(variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            value: object = text
            if path[0] == "kafka" and path[1:2] in {("client",), ("client_files",)} and len(path) > 2:
                path = (*path[:2], ".".join(path[2:]).replace("_", "."))
            elif not is_text(path):
                try:
                    value = read(text)
                except YamlError as problem:
                    self.errors.append(f"{shown_path(path)}: {problem} (environment variable {variable})")
                    continue
            self.lay(path, value, f"environment variable {variable}")

    def lay_client_files(self) -> None:
        """Lays the content of each of kafka.client_files as the setting of kafka.client that it names."""
        kafka = self.values.get("kafka")
        files = kafka.get("client_files") if isinstance(kafka, dict) else None
        for name, file in files.items() if isinstance(files, dict) else ():
            path = ("kafka", "client_files", name)
            if not isinstance(file, str):
                continue  # its type is refused as any other's
            try:
                secret = read_text(Path(file)).rstrip("\r\n")
            except UnreadableFile as reason:  # what stands there in place of a file's name may be the secret
                self.errors.append(f"{shown_path(path)}: the file cannot be read: {reason} ({self.source(path)})")
                continue
            if ("kafka", "client", name) in self._sources:
                self.errors.append(
                    f"{shown_path(path)}: is given twice, here and in kafka.client ({self.source(path)})"
                )
            self.lay(("kafka", "client", name), secret, self.source(path))

    def source(self, path: SettingPath) -> str:
        """Where a setting, one inside it or the one around it comes from."""
        for length in range(len(path), 0, -1):
            for laid, source in reversed(self._sources.items()):
                if laid[:length] == path[:length]:
                    return source
        return "default"


def _is_no_text(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_no_text, value.items()))
    if isinstance(value, list | tuple):
        return any(map(_is_no_text, value))
    return isinstance(value, str) and _NO_TEXT.search(value) is not None


def shown_path(path: SettingPath) -> str:
    """A setting's name for an error, without what stands behind a "=" in it: lines of another format hold secrets."""
    return ".".join(re.sub(r"=.*", "=...", str(name), flags=re.DOTALL) for name in path)
