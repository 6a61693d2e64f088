"""How a study goes, one step of one party after the other: where nobody lies or fails, and where a round is void."""

from protocol.rounds import last_round
from tests.sample_study import SILOS


def begin_study(node, peers, first="alpha"):
    """The study up to the agreed secret, alpha accepting first or last."""
    peers.propose()
    if first == "alpha":
        node.go()
        peers.accept()
    else:
        peers.accept()
        node.go()
    peers.key()
    node.go()
    peers.share()
    node.go()


def serve_round(node, peers, index, changed=lambda chunk: chunk, silos=SILOS):
    """A round up to its served sum; ``changed`` is what a lying hub does to a chunk of it."""
    peers.open(index, silos=silos)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve(changed)
    node.go()


def run_round(node, peers, index, silos=SILOS):
    serve_round(node, peers, index, silos=silos)
    peers.unmask(node)
    peers.verify()
    peers.close()
    node.go()


def void_round(node, peers, index):
    """A round whose sum the hub made up."""
    serve_round(node, peers, index, lambda chunk: chunk[:-1] + bytes([chunk[-1] ^ 1]))
    peers.fail()
    peers.void()
    node.go()


def key_again(node, peers):
    """Another epoch of the study secret."""
    peers.key_again()
    node.go()
    peers.share()
    node.go()


def run_study(node, peers, first="alpha"):
    begin_study(node, peers, first)
    for index in range(last_round(peers.contract) + 1):
        run_round(node, peers, index)
    peers.finish()
    node.go()
