"""Tiles of the log's tree (C2SP tlog-tiles): runs of up to 256 hashes that a client makes its own proofs from.

A tile is named L/N or L/N.p/W: level L, place N among the tiles of its level in groups of three digits (x001/x234/067),
and the width W of one that isn't full. Its hashes are those of the complete subtrees of 256**L leaves.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from hub.errors import NotFound

__all__ = ["TILE_WIDTH", "Tile"]

TILE_WIDTH: Final = 256
_TILE_LEVELS: Final = 8
"""Levels of the tree from one level of tiles to the next: 2**8 is a tile's width."""
_PATH: Final = re.compile(
    r"(?P<level>0|[1-9][0-9]?)/(?P<place>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """`width` hashes from node `first` of tree level `node_level` on; `full` ones are named without their width."""

    level: int
    place: int
    width: int

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read a tile's name, which has one spelling only. Raises `NotFound` for any other."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise NotFound("no tile has that name: they are LEVEL/NUMBER or LEVEL/NUMBER.p/WIDTH (C2SP tlog-tiles)")
        place = int(match["place"].replace("/", "").replace("x", ""))
        tile = cls(int(match["level"]), place, int(match["width"] or TILE_WIDTH))
        if str(tile) != path:
            raise NotFound(f"no tile has that name; the nearest one is {tile}")
        return tile

    def __str__(self) -> str:
        digits = f"{self.place:d}"
        groups = digits.zfill(-(-len(digits) // 3) * 3)
        *leading, last = (groups[at : at + 3] for at in range(0, len(groups), 3))
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"{self.level}/{''.join(f'x{group}/' for group in leading)}{last}{suffix}"

    @property
    def node_level(self) -> int:
        """The tree's level that the tile's hashes are of; 0 are the leaves."""
        return self.level * _TILE_LEVELS

    @property
    def first(self) -> int:
        """The index, in its level, of the tile's first hash."""
        return self.place * TILE_WIDTH

    def fits(self, size: int) -> bool:
        """Whether a log of `size` leaves fills the tile."""
        return self.level < 64 and 0 < self.width <= TILE_WIDTH and self.first + self.width <= size >> self.node_level
