from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import InvalidTopicNameError

from logd.model.names import check_topic_name, collision_key, is_internal

ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


@pytest.mark.parametrize("name", ["a", "orders", "Orders-2.v1_x", "_", "...", "-", "a" * 249])
def test_good_names(name: str) -> None:
    check_topic_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a b",
        "a\0b",
        "a\r\nb",
        "a\n",
        "orders\u202e",
        "%2e%2e",
        "ünits",
        "٣",
        "a" * 250,
        "__consumer_offsets",
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidTopicNameError) as caught:
        check_topic_name(name)
    assert caught.value.hint
    assert str(caught.value).isascii(), "control and direction characters are escaped"
    assert str(caught.value).isprintable()


@given(st.text(max_size=260) | st.text(alphabet=ALLOWED, max_size=260))
def test_the_rule_against_a_naive_one(name: str) -> None:
    good = (
        1 <= len(name) <= 249
        and all(character in ALLOWED for character in name)
        and name not in {".", ".."}
        and name[:2] != "__"
    )
    try:
        check_topic_name(name)
    except InvalidTopicNameError:
        assert not good
    else:
        assert good


def test_names_that_differ_in_dots_and_underscores_collide() -> None:
    assert collision_key("a.b_c") == collision_key("a_b.c") != collision_key("a-b.c")


def test_internal_names() -> None:
    assert is_internal("__x") and not is_internal("_x")
