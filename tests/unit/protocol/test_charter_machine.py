"""Random histories of charters against the rules written down once more, in a page of sets and counts.

The model knows nothing of keys and bytes: an admin is a name with a generation of its key, a signature says by whom, by
which generation, and over which draft.
"""

import itertools
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from protocol.chain import CharterChain
from protocol.charter import Charter, Person, charter_digest
from protocol.errors import ProtocolError
from protocol.membership_statements import CharterPublished
from protocol.signing import Signed, sign
from protocol.succession import sign_charter
from tests.sample_study import NOW, consortium, party

GROUP = consortium()
NAMES, GENERATIONS = ("ada", "bea", "cid", "dan"), (0, 1)
KEYS = {(name, generation): party(name) for name in NAMES for generation in GENERATIONS}
Key = tuple[str, int]


@dataclass(frozen=True)
class Draft:
    """Who shall decide (the generation of each admin's key), how many must sign, and after which version."""

    admins: tuple[Key, ...]
    threshold: int
    after: int


def may_follow(held: list[Draft], draft: Draft, signed: list[tuple[Key, bool]], publisher: Key) -> bool:
    """The rules: ``signed`` are keys, each with whether it signed this very draft."""
    if draft.after != len(held):
        return False
    old, new = (held[-1] if held else draft), draft
    if not all(over_this and key in {*old.admins, *new.admins} for key, over_this in signed):
        return False
    keys = {key for key, _ in signed}
    enough = all(len(keys & set(one.admins)) >= one.threshold for one in (old, new))
    return enough and publisher in old.admins


keys = st.sampled_from(sorted(KEYS))
admins = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(GENERATIONS), min_size=1).map(
    lambda chosen: tuple(sorted(chosen.items()))
)


class Charters(RuleBasedStateMachine):
    """``held`` is the model's history, ``charters`` what the chain was shown and took."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Draft] = []
        self.charters: list[Charter] = []
        self.nonces = itertools.count()
        self.chain: CharterChain | None = None

    @rule(who=admins, threshold=st.integers(1, 4), data=st.data())
    def anything(self, who: tuple[Key, ...], threshold: int, data: st.DataObject) -> None:
        """Any draft, after any version, with any signatures, published by anybody."""
        after = data.draw(st.sampled_from([len(self.held), max(0, len(self.held) - 1)]))
        draft = Draft(who, min(threshold, len(who)), after)
        chosen = data.draw(st.lists(st.tuples(keys, st.booleans()), min_size=1, max_size=5))
        self._publish(draft, chosen, data.draw(keys))

    @rule(who=admins, threshold=st.integers(1, 4), data=st.data())
    def nearly_right(self, who: tuple[Key, ...], threshold: int, data: st.DataObject) -> None:
        """A draft after the newest version, signed by admins of either: one may be missing, and one more too many."""
        draft = Draft(who, min(threshold, len(who)), len(self.held))
        known = sorted({*draft.admins, *(self.held[-1] if self.held else draft).admins})
        missing = data.draw(st.sampled_from([None, *known]))
        signers = [(key, True) for key in known if key != missing] or [(known[0], True)]
        more = data.draw(st.none() | st.tuples(keys, st.booleans()))
        signers += [] if more is None else [more]
        self._publish(draft, signers, data.draw(st.sampled_from(known)))

    @rule()
    def the_newest_again(self) -> None:
        """What the hub was given before, once more."""
        if not self.held:
            return
        newest = self.held[-1]
        self._publish(newest, [(key, True) for key in newest.admins], newest.admins[0], again=True)

    def _publish(self, draft: Draft, signed: list[tuple[Key, bool]], publisher: Key, again: bool = False) -> None:
        charter = self.charters[-1] if again else self._charter(draft)
        other = charter.model_copy(update={"expires_at": "2031-01-01T00:00:00Z"})
        signatures = tuple(
            sign_charter(charter if over_this else other, key[0], KEYS[key].signing) for key, over_this in signed
        )
        body = CharterPublished(
            type="charter",
            issuer=f"person:{publisher[0]}",
            issued_at=NOW,
            nonce=f"{next(self.nonces):032x}",
            journal_head=None,
            charter=charter,
            signatures=signatures,
        )
        chain = self.chain or CharterChain(charter_digest(charter))
        expected = may_follow(self.held, draft, signed, publisher)
        assert _takes(chain, sign(body, KEYS[publisher].signing)) == expected
        if expected:
            self.chain = chain
            self.held.append(draft)
            self.charters.append(charter)

    def _charter(self, draft: Draft) -> Charter:
        previous = self.charters[draft.after - 1] if draft.after else None
        people = tuple(Person(person=k[0], role="admin", decision_key=None, **KEYS[k].public) for k in draft.admins)
        value = GROUP.charter(2, previous).model_dump() | {"people": people, "threshold": draft.threshold}
        return Charter.model_validate(value)

    @invariant()
    def the_chain_is_what_was_taken(self) -> None:
        assert self.charters == (self.chain.charters if self.chain else [])


def _takes(chain: CharterChain, signed: Signed) -> bool:
    before = list(chain.charters)
    try:
        chain.check(signed)
    except ProtocolError:
        assert chain.charters == before
        return False
    return True


def test_any_history_of_charters_is_taken_as_the_rules_say() -> None:
    bounds = settings(max_examples=40, stateful_step_count=10, deadline=None)
    run_state_machine_as_test(Charters, settings=bounds)
