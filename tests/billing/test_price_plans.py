"""What prices of a foreign account become: usable offers, each code once, the same on each run."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.imports.foreign import ForeignPrice, ForeignProduct
from billing_app.billing.imports.price_plans import (
    PriceEntry,
    PriceMap,
    PricePlan,
    SoldOffer,
    plan_prices,
    read_map,
)
from billing_app.billing.offers.catalogue import OfferTerms, OfferView, check_terms
from billing_app.billing.staff.catalogue.publishing import CODE
from billing_app.db.enums import Interval

PRICE = ForeignPrice(
    price_id="price_1",
    product_id="prod_1",
    currency="USD",
    unit_amount_minor=1_500,
    interval="month",
    interval_count=1,
    is_metered=False,
    is_tiered=False,
    counts_packages=False,
    is_active=True,
    lookup_key="",
    metadata={"executions": "3000"},
)
PRODUCT = ForeignProduct("Team", "", is_active=True, metadata={})
GROWTH = OfferView(
    code="growth",
    version=2,
    version_id=7,
    name="Growth",
    description="",
    executions=3_000,
    price_minor=1_500,
    currency="USD",
    interval=Interval.MONTH,
    overage=None,
    valid_days=None,
    priority=100,
    trial_days=0,
)
NAMES = st.sampled_from(["Team", "team", "Größe XL", "!!!", "T" * 300, "growth", "日本"])


def plan(
    *found: tuple[ForeignPrice, ForeignProduct],
    price_map: PriceMap | None = None,
    linked: dict[str, OfferView] | None = None,
    catalogue: dict[str, SoldOffer] | None = None,
) -> dict[str, PricePlan]:
    known = {"growth": SoldOffer(GROWTH, has_price=False)} if catalogue is None else catalogue
    return plan_prices(
        found,
        price_map or PriceMap(),
        linked=linked or {},
        catalogue=known,
        executions_key="executions",
    )


def problem(price: ForeignPrice, product: ForeignProduct = PRODUCT, **more: Any) -> str:
    return plan((price, product), **more)[price.price_id].problem


@st.composite
def prices(draw: Any) -> list[tuple[ForeignPrice, ForeignProduct]]:
    numbers = draw(st.lists(st.integers(1, 50), unique=True, max_size=8))
    return [
        (
            replace(
                PRICE,
                price_id=f"price_{number}",
                unit_amount_minor=draw(st.integers(0, 10**6)),
                interval=draw(st.sampled_from(["month", "year"])),
                lookup_key=draw(st.sampled_from(["", "growth", "team", "Team 2"])),
                is_active=draw(st.booleans()),
            ),
            replace(PRODUCT, name=draw(NAMES)),
        )
        for number in numbers
    ]


@given(prices(), st.randoms())
def test_offers_are_usable_and_each_code_is_given_once(found: Any, random: Any) -> None:
    plans = plan(*found)
    assert [each.problem for each in plans.values()] == [""] * len(found)
    codes = [each.code for each in plans.values()]
    assert len({*codes, "growth"}) == len(codes) + 1
    for each in plans.values():
        assert CODE.fullmatch(each.code)
        assert each.terms is not None
        check_terms(each.terms)
    shuffled = list(found)
    random.shuffle(shuffled)
    assert plan(*shuffled) == plans


@given(prices(), st.data())
def test_run_that_stopped_between_offers_gives_the_same(found: Any, data: Any) -> None:
    """Those that are made are found by their price, whatever else takes their names."""
    plans = plan(*found)
    made = {key: plans[key] for key in plans if data.draw(st.booleans())}
    linked = {key: view_of(each) for key, each in made.items()}
    sold = {each.code: SoldOffer(each, has_price=True) for each in linked.values()}
    catalogue = {"growth": SoldOffer(GROWTH, has_price=False)} | sold
    again = plan(*found, linked=linked, catalogue=catalogue)
    for key, each in made.items():
        assert (again[key].code, again[key].version_id) == (each.code, linked[key].version_id)
        assert again[key].is_linked
    codes = [each.code for each in again.values()]
    assert len(set(codes)) == len(codes)


def view_of(made: PricePlan) -> OfferView:
    terms: OfferTerms | None = made.terms
    assert terms is not None
    return replace(
        GROWTH, code=made.code, version=1, version_id=hash(made.code) % 1_000, name=terms.name
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_metered": True}, "it is metered"),
        ({"is_tiered": True, "unit_amount_minor": None}, "it has tiers"),
        ({"unit_amount_minor": None}, "not a whole number of minor units"),
        ({"counts_packages": True}, "it is for packages of units"),
        ({"interval_count": 3}, "it is billed every 3 month"),
        ({"interval": "day"}, "it is billed every 1 day"),
        ({"currency": "XXX"}, "XXX is not a supported currency"),
        ({"metadata": {}}, "its executions are not known"),
        ({"metadata": {"executions": "lots"}}, "its executions are not known"),
        ({"metadata": {"executions": "1.5"}}, "its executions are not known"),
        ({"metadata": {"executions": "0"}}, "executions must be from 1"),
        ({"currency": "ISK", "unit_amount_minor": 150}, "multiples of 100"),
    ],
)
def test_price_that_no_offer_can_have(changes: Any, reason: str) -> None:
    assert reason in problem(replace(PRICE, **changes))


def test_executions_come_from_the_map_then_the_price_then_the_product() -> None:
    product = replace(PRODUCT, metadata={"executions": "10"})
    bare = replace(PRICE, metadata={})
    mapped = PriceMap(prices={"price_1": PriceEntry(executions=7)})
    for given_price, price_map, expected in (
        (PRICE, mapped, 7),
        (PRICE, PriceMap(), 3_000),
        (bare, PriceMap(), 10),
    ):
        terms = plan((given_price, product), price_map=price_map)["price_1"].terms
        assert terms is not None
        assert terms.executions == expected


def test_price_joins_an_offer_that_sells_the_same() -> None:
    mapped = PriceMap(prices={"price_1": PriceEntry(offer="growth")})
    found = plan((PRICE, PRODUCT), price_map=mapped)["price_1"]
    assert (found.problem, found.code, found.version_id) == ("", "growth", 7)
    other = replace(PRICE, unit_amount_minor=1)
    assert "another price, currency or interval" in problem(other, price_map=mapped)
    taken = {"growth": SoldOffer(GROWTH, has_price=True)}
    assert "has another price at Stripe" in problem(PRICE, price_map=mapped, catalogue=taken)
    more = PriceMap(prices={"price_1": PriceEntry(offer="growth", executions=4)})
    assert "growth has 3,000 executions" in problem(PRICE, price_map=more)


def test_new_codes_of_the_map_are_checked() -> None:
    def mapped(code: str) -> PriceMap:
        return PriceMap(prices={name: PriceEntry(offer=code) for name in ("price_1", "price_2")})

    assert "cannot be the code of an offer" in problem(PRICE, price_map=mapped("Not A Code"))
    second = replace(PRICE, price_id="price_2")
    plans = plan((PRICE, PRODUCT), (second, PRODUCT), price_map=mapped("mine"))
    assert [each.problem for each in plans.values()] == [
        "",
        "offer mine is named by another price too",
    ]


def test_inactive_price_or_product_is_not_on_sale() -> None:
    assert plan((PRICE, PRODUCT))["price_1"].on_sale
    assert not plan((replace(PRICE, is_active=False), PRODUCT))["price_1"].on_sale
    assert not plan((PRICE, replace(PRODUCT, is_active=False)))["price_1"].on_sale


@pytest.mark.parametrize(
    "text",
    ["[prices", "x = 1", "[prices.a]\nexecutions = '3'", "[used]\ncus_1 = -1", "[used]\na = 1.5"],
)
def test_bad_mapping_file_is_one_line(text: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        read_map(text)
    assert str(raised.value).startswith("The mapping file is not valid: ")
    assert "\n" not in str(raised.value)
