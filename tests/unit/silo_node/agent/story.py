"""How a study goes where nobody lies or fails, one step of one party after the other."""

from protocol.rounds import last_round


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


def run_round(node, peers, index):
    peers.open(index)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve()
    node.go()
    peers.unmask(node)
    peers.verify()
    peers.close()
    node.go()


def run_study(node, peers, first="alpha"):
    begin_study(node, peers, first)
    for index in range(last_round(peers.contract) + 1):
        run_round(node, peers, index)
    peers.finish()
    node.go()
