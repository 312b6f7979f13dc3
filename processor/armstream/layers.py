"""Settings as they are read, before anybody knows what they mean: layers of YAML, environment variables and files.

Law: mappings merge, an empty section changes nothing, everything else replaces; each value keeps its source; no error
shows what stands in a file, which may be a password.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from armstream.learning.old_names import todays

ENVIRONMENT_PREFIX = "ARMSTREAM__"

SettingPath = tuple[str | int, ...]


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
        if path[:-1] == ("online_learning",) or (path[:2] == ("bandits", "overrides") and len(path) == 4):
            path, value = self._todays(path, value, source)
        at = self.values
        for name in path[:-1]:
            if not isinstance(at.get(name), dict):
                at[name] = {}
            at = at[name]
        if path and not (isinstance(at.get(path[-1]), dict) and not value):
            at[path[-1]] = value
            self._sources.pop(path, None)  # the latest stands last
            self._sources[path] = source

    def _todays(self, path: tuple[str, ...], value: object, source: str) -> tuple[tuple[str, ...], object]:
        """A setting of a learner by today's names."""
        name, renamed = todays(path[-1], value)
        if name != path[-1]:
            self.renamed.append(f"{'.'.join(path)}: is called {name} now ({source})")
        elif renamed != value:
            self.renamed.append(f"{'.'.join(path)}: {value} is called {renamed} now ({source})")
        return (*path[:-1], name), renamed

    def lay_file(self, path: Path, source: str | None = None) -> None:
        """Lays a YAML file; `source` is what errors call it, else its path."""
        try:
            values = _parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            self.errors.append(f"{path}: cannot be read: {_reason(error)}")
            return
        except yaml.YAMLError as error:
            self.errors.append(f"{path}: {_yaml_problem(error)}")
            return
        if values is None:
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
                    value = _parse(text)
                except yaml.YAMLError as error:
                    self.errors.append(f"{'.'.join(path)}: {_yaml_problem(error)} (environment variable {variable})")
                    continue
            self.lay(path, value, f"environment variable {variable}")

    def lay_client_files(self) -> None:
        """Lays the content of each of kafka.client_files as the setting of kafka.client that it names."""
        kafka = self.values.get("kafka")
        files = kafka.get("client_files") if isinstance(kafka, dict) else None
        for name, file in files.items() if isinstance(files, dict) else ():
            path = ("kafka", "client_files", name)
            try:
                secret = Path(str(file)).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                self.errors.append(f"{'.'.join(path)}: {file} cannot be read: {_reason(error)} ({self.source(path)})")
                continue
            if ("kafka", "client", name) in self._sources:
                self.errors.append(f"{'.'.join(path)}: is given twice, here and in kafka.client ({self.source(path)})")
            self.lay(("kafka", "client", name), secret, self.source(path))

    def source(self, path: SettingPath) -> str:
        """Where a setting, one inside it or the one around it comes from."""
        for length in range(len(path), 0, -1):
            for laid, source in reversed(self._sources.items()):
                if laid[:length] == path[:length]:
                    return source
        return "default"


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-10 is a number and a name given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}:
                raise yaml.constructor.ConstructorError(problem="a name must be text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(problem="a name is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _parse(text: str) -> object:
    value: object = yaml.load(text, Loader=_Loader)
    return value


def _yaml_problem(error: yaml.YAMLError) -> str:
    """One line without what stands in the file, which may be a password."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "is not YAML"
    problem = re.split(r"['\"]", error.problem or "")[0].strip()
    mark = error.problem_mark
    return f"is not YAML that can be read: {problem}, line {mark.line + 1}, column {mark.column + 1}"


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "no such file") if isinstance(error, OSError) else "it is not UTF-8"
