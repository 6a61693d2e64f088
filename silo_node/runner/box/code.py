"""Which files a box must hold for this interpreter and the product's code to run in it, and nothing more."""

import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import silo_node

ROOT: Final = Path(silo_node.__file__).resolve().parents[1]
_PRODUCT: Final = ("silo_node", "protocol")
SYSTEM: Final = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")
_SETTINGS: Final = ("/etc/ld.so.cache", "/etc/localtime")


def code_paths() -> tuple[Path, ...]:
    """Files and folders of interpreter, libraries and product, absolute; each is there."""
    return tuple(dict.fromkeys(path for path in _every() if path.exists()))


def _every() -> Iterator[Path]:
    interpreter = Path(sys.executable)
    yield from (interpreter, interpreter.resolve(), Path(sys.prefix) / "pyvenv.cfg")
    # Not the prefixes themselves: /usr/local's would do no harm, but a prefix may be a person's home.
    yield from (interpreter.parent, Path(sys.prefix) / "lib", Path(sys.prefix) / "lib64")
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    yield from (Path(sys.base_prefix) / name for name in ("bin", "lib"))
    yield from (Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages"))
    yield from (Path(folder) for folder in site.getsitepackages())
    yield from (ROOT / name for name in _PRODUCT)
    yield from (Path(path) for path in _SETTINGS)
