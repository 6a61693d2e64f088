"""What was revealed in a round, read with a colluding silo's key: whose share of whom, and of which seed."""

import base64

from hub.store.blobs import shares_name
from protocol.record import StudyRecord
from protocol.round_record import RoundRecord
from protocol.round_statements import SharesRevealed
from protocol.sealing.secret import StudySecret
from protocol.sealing.sharing import Bundle, open_reveal
from silo_node.agent.studies import Studies
from silo_node.sealing.masking import reveal_context
from tests.federation.rig.cheating_nodes import Node
from tests.federation.rig.cheating_silos import Group

SELF, KEY = "self mask", "mask key"


def record_of(node: Node, study: str) -> StudyRecord:
    """The study as the log tells it to this node."""
    return Studies(node.silo.tasks.entries()).records[study]


def secret_of(node: Node, study: str, epoch: int = 1) -> StudySecret:
    secret = node.silo.secret(study, epoch)
    assert secret is not None
    return secret


def bundles_of(group: Group, record: StudyRecord, one: RoundRecord) -> dict[str, Bundle]:
    """The frozen silos' bundles as they lie in the hub's store."""
    holders = tuple(sorted(one.keying.silos))
    blobs = group.hub.services.rounds.blobs
    names = {dealer: shares_name(record.study, one.index, one.attempt, dealer) for dealer in one.frozen_ready}
    return {dealer: Bundle.parse(blobs.read(name), dealer, holders) for dealer, name in names.items()}


def shares_given(
    record: StudyRecord, one: RoundRecord, word: SharesRevealed, secret: StudySecret, bundles: dict[str, Bundle]
) -> set[tuple[str, str, str]]:
    """(who revealed, whose, which) of every share in a reveal that fits its dealer's commitments."""
    who = word.issuer.removeprefix("silo:")
    context = reveal_context(record.study, one.index, word.sum, who)
    shares = open_reveal(secret, context, base64.b64decode(word.shares), len(bundles))
    found = set()
    for dealer, share in zip(sorted(bundles), shares, strict=True):
        found |= {(who, dealer, SELF)} if bundles[dealer].matches("s", who, share) else set()
        found |= {(who, dealer, KEY)} if bundles[dealer].matches("k", who, share) else set()
    return found


def all_given(group: Group, insider: str, study: str, index: int) -> set[tuple[str, str, str]]:
    """Every share that was revealed in a round, as the hub and an insider get to see them together."""
    node = group.nodes[insider]
    record = record_of(node, study)
    one = record.rounds[index]
    secret = secret_of(node, study, one.keying.epoch)
    bundles = bundles_of(group, record, one)
    words = group.words(SharesRevealed, study, index)
    return {share for word in words for share in shares_given(record, one, word, secret, bundles)}
