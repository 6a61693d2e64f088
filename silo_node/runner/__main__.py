"""``python -m silo_node.runner FOLDER PARENT``: started by ``silo_node.runner.process``, of no use to people."""

import sys

from silo_node.runner.child import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
