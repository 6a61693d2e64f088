"""Numbers in a path or query, bounded to what a database holds: anything else is malformed, not an incident."""

from typing import Annotated

from fastapi import Path, Query

Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
"""Of a round, an attempt, a chunk."""
Position = Annotated[int, Query(ge=0, le=2**62)]
"""In the log."""
