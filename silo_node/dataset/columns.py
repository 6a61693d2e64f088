"""A declared column, and the columns of numbers that it becomes.

A contract knows numbers and yes/no columns only. An integer is a number; a category becomes one yes/no column a
declared value, ``NAME_VALUE``; an image becomes one number a pixel, ``NAME_y3_x7`` (``NAME_red_y3_x7`` in colour).
"""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from protocol.ids import ColumnName, Printable, Strict
from protocol.published_column import PublishedColumn

Kind = Literal["number", "integer", "binary", "category", "image"]

MAX_NAME: Final = 63
_COLOURS: Final = {1: ("",), 3: ("_red", "_green", "_blue")}


class Raster(Strict):
    """The size that every image of a column has, in pixels; ``channels`` 1 for grey, 3 for red, green and blue."""

    width: Annotated[int, Field(ge=1, le=512)]
    height: Annotated[int, Field(ge=1, le=512)]
    channels: Literal[1, 3] = 1

    @property
    def values(self) -> int:
        return self.width * self.height * self.channels


class DeclaredColumn(Strict):
    """A column of the source. Numbers are in ``unit`` and clamped to [minimum, maximum]; binary ones are 0 or 1.

    ``missing`` stands in for values that are missing: a number in the range, 0 or 1, or one of ``categories``. Without
    it a missing value is refused. It is declared and never computed, as a mean of the data would tell of the data.
    """

    name: ColumnName
    kind: Kind
    unit: Annotated[Printable, Field(max_length=40)] = ""
    minimum: float = 0.0
    maximum: float = 1.0
    categories: tuple[Annotated[Printable, Field(min_length=1, max_length=200)], ...] | None = None
    missing: float | str | None = None
    image: Raster | None = None

    @model_validator(mode="after")
    def _ranged(self) -> Self:
        if self.kind in ("number", "integer") and not {"minimum", "maximum"} <= self.model_fields_set:
            raise ValueError(f"column {self.name}: a number needs a minimum and a maximum")
        if self.kind not in ("number", "integer") and (self.minimum, self.maximum) != (0.0, 1.0):
            raise ValueError(f"column {self.name}: a {self.kind} column runs from 0 to 1")
        if not self.minimum < self.maximum:
            raise ValueError(f"column {self.name}: minimum {self.minimum} must be below maximum {self.maximum}")
        if self.kind == "integer" and not (self.minimum.is_integer() and self.maximum.is_integer()):
            raise ValueError(f"column {self.name}: an integer's minimum and maximum must be whole")
        return self

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (self.kind == "category") != (self.categories is not None):
            raise ValueError(f"column {self.name}: categories are declared for kind category, and for no other")
        if (self.kind == "image") != (self.image is not None):
            raise ValueError(f"column {self.name}: image (width, height) is declared for kind image, and for no other")
        if self.categories is not None and not len({self.slug(value) for value in self.categories}) >= 2:
            raise ValueError(f"column {self.name}: at least two categories are needed")
        if self._longest_name() > MAX_NAME:
            raise ValueError(f"column {self.name}: the columns it becomes get names of more than {MAX_NAME} characters")
        if self.missing is not None and not self._stands_in(self.missing):
            raise ValueError(f"column {self.name}: missing must be a value that the column may have")
        return self

    @staticmethod
    def slug(value: str) -> str:
        """``value`` as a part of a column's name: lower case, and _ for whatever is no letter or digit of ASCII."""
        return re.sub("[^a-z0-9]+", "_", value.lower()).strip("_")

    def expanded(self) -> tuple[PublishedColumn, ...]:
        """The columns of numbers that this one becomes, in the order in which their values are read."""
        if self.categories is not None:
            return tuple(_binary(f"{self.name}_{self.slug(value)}", category=self.name) for value in self.categories)
        if self.image is not None:
            return tuple(_number(name, 0.0, 1.0) for name in self._pixels())
        if self.kind == "binary":
            return (_binary(self.name, self.unit),)
        return (_number(self.name, self.minimum, self.maximum, self.unit),)

    def _longest_name(self) -> int:
        added = [len(self.slug(value)) + 1 for value in self.categories or ()]
        return len(self.name) + max([*added, len("_green_y511_x511") if self.image else 0])

    def _pixels(self) -> list[str]:
        raster = self.image
        if raster is None:
            return []
        return [
            f"{self.name}{colour}_y{y}_x{x}"
            for y in range(raster.height)
            for x in range(raster.width)
            for colour in _COLOURS[raster.channels]
        ]

    def _stands_in(self, value: float | str) -> bool:
        if self.kind == "category":
            return value in (self.categories or ())
        if isinstance(value, str) or self.kind == "image":
            return False
        whole = self.kind == "number" or value.is_integer()
        return whole and self.minimum <= value <= self.maximum


def _binary(name: str, unit: str = "", category: str | None = None) -> PublishedColumn:
    return PublishedColumn(name=name, kind="binary", minimum=0.0, maximum=1.0, unit=unit, category=category)


def _number(name: str, minimum: float, maximum: float, unit: str = "") -> PublishedColumn:
    return PublishedColumn(name=name, kind="number", minimum=minimum, maximum=maximum, unit=unit)
