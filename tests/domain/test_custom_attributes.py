"""Custom attributes survive SageMaker's one header: any value, 1,024 characters of ASCII."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import custom_attributes

KEYS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=10)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_formatted_is_read_back_whatever_the_values(pairs):
    text = custom_attributes.format(pairs)
    assert text.isascii()
    assert text.isprintable()
    assert custom_attributes.parse(text) == pairs


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("modeldrop-probe", {"modeldrop-probe": ""}),
        (" digest=sha256:ab ; nonfinite=0;", {"digest": "sha256:ab", "nonfinite": "0"}),
        ("a=1;a=2;=x", {"a": "1", "": "x"}),
        ("trace=a=b", {"trace": "a=b"}),
    ],
)
def test_what_containers_send_is_read_with_patience(text, pairs):
    assert custom_attributes.parse(text) == pairs


def test_more_than_sagemaker_takes_is_refused():
    with pytest.raises(ValueError, match="SageMaker takes 1024"):
        custom_attributes.format({"trace": "x" * 1024})
