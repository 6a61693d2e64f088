"""A folder of images with a table that names them. Each is read once, within bounds that hold before it is decoded."""

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from silo_node.dataset.columns import Raster
from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.source import Source, Take, batch_rows
from silo_node.errors import DatasetRefused

MAX_IMAGE_BYTES: Final = 16 * 2**20
FORMATS: Final = ("PNG", "JPEG")
_MODES: Final = {1: "L", 3: "RGB"}


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """``table``'s rows, in which ``column`` names a file below ``folder`` and becomes that file's pixels, 0 to 255."""

    table: Source
    folder: Path
    column: str

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        raster = schema.column(self.column).image
        if raster is None:
            raise DatasetRefused(f"column {self.column} holds images and is not declared with kind image")
        digest, rows, size = hashlib.sha256(b"consortia/images/v1\0"), 0, batch_rows(schema)
        for whole in self.table.batches(schema, take):
            for frame in whole.iter_slices(size):
                pixels = np.empty((frame.height, raster.values), np.uint8)
                for place, name in enumerate(frame[self.column].cast(pl.String)):
                    data = self._read(name, rows + place + 1)
                    digest.update(hashlib.sha256(data).digest())
                    pixels[place] = decoded(data, raster, f"column {self.column}, row {rows + place + 1}: the image")
                rows += frame.height
                shape = pl.Array(pl.UInt8, raster.values)
                yield frame.with_columns(pl.Series(self.column, pixels, shape))
        take(digest.digest())

    def _read(self, name: str | None, row: int) -> bytes:
        """The file that row ``row`` names. Raises ``DatasetRefused`` for a link, or a name that leaves the folder."""
        where = f"column {self.column}, row {row}"
        parts = Path(name or "").parts
        if not parts or Path(name or "").is_absolute() or ".." in parts or "\0" in (name or ""):
            raise DatasetRefused(f"{where}: it must name a file below the folder of images")
        try:
            with os.fdopen(_open_below(self.folder, parts), "rb") as file:
                data = file.read(MAX_IMAGE_BYTES + 1)
        except OSError as error:
            raise DatasetRefused(f"{where}: the file cannot be read, or is a link: {error.strerror}") from None
        if len(data) > MAX_IMAGE_BYTES:
            raise DatasetRefused(f"{where}: the file has more than {MAX_IMAGE_BYTES} bytes")
        return data


def decoded(data: bytes, raster: Raster, what: str) -> NDArray[np.uint8]:
    """The pixels of an image (height * width * channels,), row by row. Raises ``DatasetRefused`` naming ``what``.

    Format, size and channels stand in the image's header and are compared first, so that no more is ever decoded
    than the schema declares.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.size != (raster.width, raster.height):
                    raise DatasetRefused(f"{what} is not of the declared {raster.width} x {raster.height} pixels")
                if image.mode != _MODES[raster.channels]:
                    kind = "grey" if raster.channels == 1 else "red, green and blue"
                    raise DatasetRefused(f"{what} is not in {kind} with 8 bits a channel, as declared")
                return np.asarray(image, np.uint8).reshape(-1)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, Warning):
        raise DatasetRefused(f"{what} is not a PNG or JPEG that can be read") from None


def _open_below(folder: Path, parts: tuple[str, ...]) -> int:
    """A descriptor of the regular file ``parts`` below ``folder``; nothing on the way down may be a link."""
    inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=inside)
            os.close(inside)
            inside = below
        # Non-blocking: a pipe under that name must not hang the reading.
        found = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
    finally:
        os.close(inside)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(0, "not a file")
    return found
