"""Names that SageMaker takes, that don't clash and that are the same on every retry."""

import hashlib
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.adapters.sagemaker_names import (
    carries,
    deployment_name,
    deployment_tags,
    group_name,
    spec_digest,
    stack_prefix,
)
from tests.fakes_sagemaker_world import deployment

LEGAL = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}-[0-9a-f]{12}", fullmatch=True)
stacks = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,100}", fullmatch=True)


@given(stacks, ids)
def test_every_name_is_legal_lower_case_and_begins_with_the_stacks_prefix(stack, id_):
    for name in (deployment_name(stack, id_), group_name(stack, id_)):
        assert LEGAL.fullmatch(name)
        assert len(name) <= 63
        assert name == name.lower()
        assert name.startswith(stack_prefix(stack))


@given(stacks, ids, ids)
def test_other_deployments_have_other_names_even_if_only_their_case_or_punctuation_differs(stack, one, other):
    if one != other:
        assert deployment_name(stack, one) != deployment_name(stack, other)
    assert deployment_name(stack, "v1.0-a") != deployment_name(stack, "v1-0-a")
    assert deployment_name(stack, one) != group_name(stack, one)


def test_a_name_shows_the_version_and_ends_with_a_digest():
    assert re.fullmatch(r"md-0123abcd-v1-0-4f2a-[0-9a-f]{16}", deployment_name("0123abcd", "v1.0-4f2a"))


@pytest.mark.parametrize(
    ("stack", "prefix"),
    [
        ("0123abcd", r"md-0123abcd-"),  # what a template can write into its IAM statements
        ("modeldrop-0123abcd", r"md-0123abcd-"),
        ("modeldrop", r"md-[0-9a-f]{6}-"),
    ],
)
def test_a_stacks_prefix_is_its_short_id_or_a_digest_of_its_name(stack, prefix):
    assert re.fullmatch(prefix, stack_prefix(stack))


def test_the_spec_changes_with_anything_that_was_asked_for():
    asked = deployment()
    others = [replace(asked, digest="sha256:other"), replace(asked, endpoint="numbers"), deployment(replicas=2)]
    assert len({spec_digest(each) for each in (asked, *others)}) == 4


def test_tags_of_people_beside_ours_change_nothing():
    tags = deployment_tags("0123abcd", deployment())
    assert carries({**tags, "team": "vision"}, tags)
    assert not carries({**tags, "modeldrop:stack": "other"}, tags)
    assert not carries({}, tags)


def test_the_spec_of_what_runs_outlives_a_release():
    """The fields and defaults of today, written down: other ones would disown every running deployment."""
    asked = {"id": "v1-0123", "endpoint": "digits", "ref": {"model_id": "digits", "version_id": "v1"}}
    asked |= {"digest": "sha256:v1", "store_prefix": "digits/v1/x/", "resources": {"replicas": 2}}
    written = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    assert spec_digest(deployment(replicas=2)) == written
