"""``python -m silo_node.selftest DEPTH``: started by ``silo_node.runner.self_test_box``, of no use to people."""

import sys

from silo_node.selftest.measured import Begun, Finished, Said
from silo_node.selftest.versions import PACKAGES, installed_version


def main(depth: str) -> int:
    """Says every figure as it is found. The exit status tells nothing of them."""
    _say(Begun(versions={name: installed_version(name) for name in PACKAGES}))
    # Imported here: torch takes seconds, and whoever waits has seen that something happens.
    import numpy as np

    from silo_node.selftest.effort import EFFORT
    from silo_node.selftest.engine import installed
    from silo_node.selftest.suite import measure

    effort, figures = EFFORT["thorough" if depth == "thorough" else "quick"], 0
    for one in measure(installed(), effort, np.random.default_rng()):
        _say(one)
        figures += 1
    _say(Finished(figures=figures))
    return 0


def _say(what: Said) -> None:
    sys.stdout.write(what.model_dump_json() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
