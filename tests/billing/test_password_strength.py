"""Which new passwords are refused as easy to guess, and why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.identity.password_hashing import MAX_LENGTH, MIN_LENGTH, is_password
from billing_app.billing.identity.password_strength import (
    EXAMINED,
    Weakness,
    WeakPasswordError,
    hash_new_password,
    weakness_of,
)
from billing_app.states.auth_forms import MESSAGES

NAME, EMAIL = "Ada Lovelace", "a.byron@analytical-engine.example"


@pytest.mark.parametrize(
    ("password", "weakness"),
    [
        ("password2026", Weakness.COMMON),
        ("p@ssw0rd1234", Weakness.COMMON),
        ("adalovelace", Weakness.PERSONAL),
        ("ada lovelace", Weakness.PERSONAL),
        ("Lovelace2026", Weakness.PERSONAL),
        (EMAIL, Weakness.PERSONAL),
        ("analytical1", Weakness.PERSONAL),
        ("photosynthesis", Weakness.WORD),
        ("Christopher7", Weakness.NAME),
        ("pppppppppppp", Weakness.REPEATED),
        ("abcdefghijkl", Weakness.SEQUENCE),
        ("12.11.1984!", Weakness.DATE),
    ],
)
def test_password_is_weak_by_its_longest_part(password: str, weakness: Weakness) -> None:
    assert weakness_of(password, name=NAME, email=EMAIL) is weakness


@pytest.mark.parametrize(
    "password", ["correct horse battery", "пароль для биллинга", "vK7#qRw2!mZp"]
)
def test_unrelated_words_and_random_characters_are_strong(password: str) -> None:
    assert weakness_of(password, name=NAME, email=EMAIL) is None


def test_words_of_one_person_are_not_kept_for_the_next() -> None:
    name = "Zebulon Quillfeather"
    assert weakness_of("quillfeather", name=name, email=EMAIL) is Weakness.PERSONAL
    assert weakness_of("quillfeather", name=NAME, email=EMAIL) is not Weakness.PERSONAL


@given(
    password=st.text(st.characters(), min_size=MIN_LENGTH, max_size=80),
    name=st.text(max_size=255),
)
@settings(deadline=None, max_examples=50)
def test_any_text_is_judged(password: str, name: str) -> None:
    assert weakness_of(password, name=name, email=EMAIL) in {None, *Weakness}


async def test_only_the_beginning_is_examined() -> None:
    strong = "vK7#qRw2!mZp"
    assert weakness_of("p" * EXAMINED + strong, name=NAME, email=EMAIL) is Weakness.REPEATED
    longest = strong + "p" * (MAX_LENGTH - len(strong))
    assert await is_password(longest, await hash_new_password(longest, name=NAME, email=EMAIL))


async def test_length_is_checked_first() -> None:
    for length in (MIN_LENGTH - 1, MAX_LENGTH + 1):
        with pytest.raises(InvalidInputError) as refusal:
            await hash_new_password("p" * length, name=NAME, email=EMAIL)
        assert not isinstance(refusal.value, WeakPasswordError)


def test_forms_explain_every_weakness() -> None:
    assert {f"{weakness}_password" for weakness in Weakness} <= MESSAGES.keys()
