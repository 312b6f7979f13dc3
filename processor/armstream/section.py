"""A section of settings. Law: frozen, no unknown setting, no conversion but that of what stood without quotes.

`Plain` text becomes what the type of its setting can be (a number, a truth, null), and stays text where that is text.
"""

from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator, model_validator

from armstream.layers import SettingPath
from armstream.yaml_text import Plain, typed

Conflict = tuple[SettingPath, str]

_SCALARS = {type(None), bool, int, float}


class ConflictError(ValueError):
    """Settings that are legal alone and not together; `conflicts` has each with its path within the section."""

    def __init__(self, conflicts: tuple[Conflict, ...]) -> None:
        self.conflicts = conflicts
        super().__init__("; ".join(why for _, why in conflicts))


class Section(BaseModel):
    """What all sections share."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True, hide_input_in_errors=True
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Settings that are legal alone and not together: the path within the section, and why."""
        yield from ()

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, Plain) or info.field_name is None:
            return value
        annotation: Any = cls.model_fields[info.field_name].annotation
        return typed(value, _scalars_of(annotation))

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        conflicts = tuple(self.conflicts())
        if conflicts:
            raise ConflictError(conflicts)
        return self


def _number(value: object) -> object:
    return typed(value, {float}) if isinstance(value, Plain) else value


Number = Annotated[float, BeforeValidator(_number)]  # within a mapping or a list, which Section does not look into


@cache
def _scalars_of(annotation: Any) -> frozenset[type]:
    """Those of null, truth, integer and number that the setting may be."""
    if get_origin(annotation) is Annotated:
        return _scalars_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return frozenset[type]().union(*map(_scalars_of, get_args(annotation)))
    return frozenset({annotation} & _SCALARS)
