import json

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import canonical
from protocol.errors import Malformed

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(VALUES)
def test_a_value_has_one_encoding_and_reads_back(value):
    data = canonical.encode(value)
    assert canonical.decode(data) == value
    assert canonical.encode(canonical.decode(data)) == data


@settings(deadline=None, max_examples=1000)
@given(VALUES)
def test_the_quick_way_of_writing_gives_the_bytes_of_the_standard(value):
    assert canonical.encode(value) == rfc8785.dumps(value)
    ascii_spelling = json.dumps(value).encode()
    if ascii_spelling != rfc8785.dumps(value):
        with pytest.raises(Malformed):
            canonical.decode(ascii_spelling)


def test_text_that_utf8_cannot_hold_is_refused():
    for value in ('"\\ud800"', '{"\\ud800":1}', '["\\udc00\\ud800"]'):
        with pytest.raises(Malformed):
            canonical.decode(value.encode())
        with pytest.raises(Malformed):
            canonical.encode(json.loads(value))


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e0}',
        b'{"a":NaN}',
        b'{"a":"\\u0041"}',
        b"\xff",
        b"",
        b"[" * 100_000,
    ],
)
def test_what_is_not_in_canonical_form_is_refused(data):
    with pytest.raises(Malformed):
        canonical.decode(data)


def test_a_document_longer_than_the_limit_is_refused_before_it_is_parsed():
    with pytest.raises(Malformed, match="at most"):
        canonical.decode(b" " * (canonical.MAX_DOCUMENT_BYTES + 1))


def test_numbers_that_other_parsers_would_read_differently_are_refused():
    with pytest.raises(Malformed):
        canonical.encode({"a": 2**60})
    with pytest.raises(Malformed):
        canonical.encode({"a": float("inf")})


def test_the_known_answer_of_rfc_8785_section_3_2_is_reproduced():
    value = json.loads('{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001]}')
    expected = b'{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'
    assert canonical.encode(value) == expected
