"""Files that ship with the package lie inside it when installed, and beside processor/ in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent.parent


def resource(folder: str, name: str = "") -> Path:
    """The path of a shipped file or folder: `folder` is "schemas" or "config".

    Raises FileNotFoundError where neither place has it.
    """
    for root in (_PACKAGE, _CHECKOUT):
        path = root / folder / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{folder}/{name} is neither in {_PACKAGE} nor in {_CHECKOUT}")
