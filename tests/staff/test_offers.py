"""Offers as drafts: two people, bad input, versions, and publishing while Stripe is down."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from billing_app.billing.actors import OperatorActor, StaffActor, UserActor
from billing_app.billing.errors import ForbiddenError, InvalidInputError
from billing_app.billing.offers import catalogue
from billing_app.billing.offers.catalogue import OfferTakenError, OfferTerms, OverageTerms
from billing_app.billing.staff.access.permissions import StaffRoleMissingError
from billing_app.billing.staff.catalogue import offers, publishing
from billing_app.billing.staff.catalogue.drafts import DraftFields, OfferEditedError
from billing_app.billing.staff.catalogue.offers import OfferDetail, OfferNotFoundError, OfferState
from billing_app.billing.staff.catalogue.publishing import OfferArchivedError
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderFailedError,
    PaymentProviderUnavailableError,
)
from billing_app.db.enums import Interval, StaffRole
from tests.payments.billing_harness import BillingHarness
from tests.payments.test_outages import FAULTS, break_writes

ANA = StaffActor("usr_ana", "Ana", StaffRole.ADMIN)
BEN = StaffActor("usr_ben", "Ben", StaffRole.ADMIN)
TERMS = OfferTerms("Team", "For a team", 1_000, 2_500, "EUR", Interval.MONTH)
FIELDS = DraftFields(TERMS, position=3)
SOFT = OverageTerms(unit_price_minor=2, unit_executions=10, limit_executions=5_000)


def fields(**changes: Any) -> DraftFields:
    return replace(FIELDS, terms=replace(TERMS, **changes))


async def create(
    harness: BillingHarness, code: str = "team", what: DraftFields = FIELDS
) -> OfferDetail:
    return await publishing.create_offer(
        harness.services.database, ANA, code=code, fields=what, reason="New", now=harness.now
    )


async def edit(
    harness: BillingHarness,
    revision: int,
    what: DraftFields,
    who: StaffActor = ANA,
    code: str = "team",
) -> OfferDetail:
    return await publishing.edit_offer(
        harness.services.database,
        who,
        code,
        revision=revision,
        fields=what,
        reason="Better",
        now=harness.now,
    )


async def publish(
    harness: BillingHarness, revision: int, who: StaffActor = ANA, code: str = "team"
) -> OfferDetail:
    return await publishing.publish_draft(
        harness.services.database,
        harness.services.provider,
        who,
        code,
        revision=revision,
        reason="Sell it",
        now=harness.now,
    )


def audit(harness: BillingHarness) -> list[tuple[str, str, str]]:
    return harness.rows("SELECT action, subject, actor_name FROM audit_entries ORDER BY id")  # pyright: ignore[reportReturnType]


def versions(harness: BillingHarness, code: str = "team") -> list[tuple[Any, ...]]:
    return harness.rows(
        "SELECT v.version, v.price_minor, p.price_id FROM offers AS o"  # noqa: S608
        " JOIN offer_versions AS v ON v.offer_id = o.id"
        " LEFT JOIN offer_prices AS p ON p.offer_version_id = v.id"
        f" WHERE o.code = '{code}' ORDER BY v.version"
    )


async def test_from_draft_to_a_version_that_can_be_bought(harness: BillingHarness) -> None:
    made = await create(harness)
    assert (made.row.state, made.row.version, made.row.draft.revision) == ("draft", None, 1)
    sold = [offer.code for offer in await catalogue.list_offers(harness.services.database)]
    assert "team" not in sold
    with pytest.raises(catalogue.OfferUnknownError):
        await harness.begin("team")
    out = await publish(harness, 1)
    assert (out.row.state, out.row.version, out.row.has_edits) == ("published", 1, False)
    price = harness.client.v1.prices.retrieve(str(out.versions[0].price_id))
    assert (price.unit_amount, price.currency) == (2_500, "eur")
    assert (await harness.subscribed("team")).offer.code == "team"
    assert audit(harness) == [("edit_offer", "team", "Ana"), ("publish_offer", "team", "Ana")]


async def test_staff_and_customers_see_the_same_order(harness: BillingHarness) -> None:
    for code in ("zebra", "aster"):
        await create(harness, code)
        await publish(harness, 1, code=code)
    database = harness.services.database
    theirs = [offer.code for offer in await catalogue.list_offers(database)]
    ours = await offers.list_staff_offers(database, ANA, now=harness.now)
    assert [row.code for row in ours.items] == theirs
    assert theirs.index("aster") < theirs.index("zebra")


async def test_customers_stay_on_the_version_they_bought(harness: BillingHarness) -> None:
    await create(harness)
    await publish(harness, 1)
    await harness.subscribed("team")
    await edit(harness, 1, fields(price_minor=9_900, executions=7_000))
    assert (await harness.live()).offer.price_minor == 2_500
    out = await publish(harness, 2)
    assert [(row.version, row.accounts) for row in out.versions] == [(2, 0), (1, 1)]
    assert (await harness.live()).offer.version == 1
    page = await offers.list_accounts_on(harness.services.database, ANA, "team", 1, now=harness.now)
    assert [row.account_id for row in page.items] == [harness.holder.account_id]
    none = await offers.list_accounts_on(harness.services.database, ANA, "team", 2, now=harness.now)
    assert none.items == []
    harness.skip(40 * 86_400)
    await harness.deliver()
    assert {plan["executions"] for plan in harness.plans()} == {1_000}


async def test_stale_edit_lists_conflicting_changes(harness: BillingHarness) -> None:
    await create(harness)
    await edit(harness, 1, fields(price_minor=3_000, overage=SOFT), BEN)
    await edit(harness, 2, fields(price_minor=3_500, overage=SOFT), BEN)
    mine = fields(price_minor=2_000, name="Crew")
    with pytest.raises(OfferEditedError) as raised:
        await edit(harness, 1, mine)
    changes: Any = raised.value.extensions["changes"]
    told = {change.field: (change.before, change.theirs, change.yours) for change in changes}
    assert told == {
        "price_minor": (2_500, 3_500, 2_000),
        "overage_unit_price_minor": (None, 2, None),
        "overage_unit_executions": (None, 10, None),
        "overage_limit_executions": (None, 5_000, None),
    }
    assert {change.by for change in changes} == {"Ben"}
    assert raised.value.extensions["revision"] == 3
    assert "Ben changed" in raised.value.detail
    with pytest.raises(OfferEditedError):
        await publish(harness, 1)
    assert versions(harness) == []
    await edit(harness, 3, mine)
    assert (await publish(harness, 4)).row.draft.fields.terms.name == "Crew"


async def test_two_people_save_at_once(harness: BillingHarness) -> None:
    await create(harness)
    answers = await asyncio.gather(
        edit(harness, 1, fields(price_minor=3_000), ANA),
        edit(harness, 1, fields(executions=5), BEN),
        return_exceptions=True,
    )
    lost = [answer for answer in answers if isinstance(answer, OfferEditedError)]
    assert len(lost) == 1
    assert harness.rows("SELECT max(revision) FROM offer_drafts") == [(2,)]
    assert len(audit(harness)) == 2


async def test_saving_unchanged_draft_is_no_edit(harness: BillingHarness) -> None:
    await create(harness)
    same = await edit(harness, 1, FIELDS)
    assert same.row.draft.revision == 1
    assert len(audit(harness)) == 1


async def test_two_people_publish_at_once(harness: BillingHarness) -> None:
    await create(harness)
    done = await asyncio.gather(
        *(publish(harness, 1, who) for who in (ANA, BEN) * 3), return_exceptions=True
    )
    assert all(isinstance(each, OfferDetail | PaymentProviderUnavailableError) for each in done), (
        done
    )
    assert [row[:2] for row in versions(harness)] == [(1, 2_500)]
    again = await publish(harness, 1, BEN)
    assert [row.version for row in again.versions] == [1]
    assert len(audit(harness)) == 2
    assert len(harness.client.v1.products.list().data) == 1
    assert len(harness.client.v1.prices.list().data) == 1


@pytest.mark.parametrize("path", ["/v1/products", "/v1/prices"])
@pytest.mark.parametrize(("kind", "when"), FAULTS)
async def test_failed_publish_publishes_nothing(
    impatient: BillingHarness, kind: str, when: str, path: str
) -> None:
    harness = impatient
    quick = harness.services.subscriptions._provider
    await create(harness)
    break_writes(harness, path, kind, when)

    async def attempt() -> OfferDetail:
        return await publishing.publish_draft(
            harness.services.database,
            quick,
            ANA,
            "team",
            revision=1,
            reason="Sell",
            now=harness.now,
        )

    with pytest.raises(PaymentProviderUnavailableError):
        await attempt()
    assert versions(harness) == []
    assert len(audit(harness)) == 1
    state = await offers.read_offer(harness.services.database, ANA, "team", harness.now)
    assert (state.row.state, state.row.has_edits) == (OfferState.DRAFT, True)
    harness.sandbox.http.delete("/_sandbox/faults")
    await asyncio.sleep(1.0 if kind == "hang" else 0.0)  # what hangs holds its key
    assert (await attempt()).row.version == 1
    assert len(harness.client.v1.products.list().data) == 1
    assert len(harness.client.v1.prices.list().data) == 1


async def test_failed_draft_can_be_changed_and_published(harness: BillingHarness) -> None:
    """What was made at Stripe for the first try does not bind the second."""
    await create(harness)
    price: Any = {
        "currency": "eur",
        "unit_amount": 2_500,
        "lookup_key": "team-r1",
        "recurring": {"interval": "month"},
        "product_data": {"name": "Team"},
    }
    harness.client.v1.prices.create(price)
    await edit(harness, 1, fields(price_minor=4_000))
    out = await publish(harness, 2)
    assert [(row.version, row.terms.price_minor) for row in out.versions] == [(1, 4_000)]


async def test_foreign_price_under_our_key_is_not_sold(harness: BillingHarness) -> None:
    await create(harness)
    price: Any = {
        "currency": "eur",
        "unit_amount": 1,
        "lookup_key": "team-r1",
        "product_data": {"name": "Team"},
    }
    harness.client.v1.prices.create(price)
    with pytest.raises(PaymentProviderFailedError):
        await publish(harness, 1)
    assert versions(harness) == []


async def test_offer_published_without_draft(harness: BillingHarness) -> None:
    was = await offers.read_offer(harness.services.database, ANA, "starter", harness.now)
    assert (was.row.state, was.row.draft.revision, was.row.has_edits) == ("published", 0, False)
    terms = replace(was.row.draft.fields.terms, price_minor=2_100)
    changed = await edit(harness, 0, replace(was.row.draft.fields, terms=terms), code="starter")
    assert (changed.row.draft.revision, changed.row.has_edits) == (1, True)
    with pytest.raises(OfferEditedError) as raised:
        await edit(harness, 0, was.row.draft.fields, BEN, "starter")
    (change,) = raised.value.extensions["changes"]  # pyright: ignore[reportGeneralTypeIssues]
    assert (change.field, change.before, change.theirs) == ("price_minor", 1_900, 2_100)
    out = await publish(harness, 1, code="starter")
    assert [row.version for row in out.versions] == [2, 1]
    assert await publish(harness, 1, code="starter") == out


async def test_archived_offers_are_not_sold_and_not_edited(harness: BillingHarness) -> None:
    database = harness.services.database
    await harness.subscribed("growth")
    gone = await publishing.archive_offer(database, ANA, "growth", reason="Old", now=harness.now)
    assert (gone.row.state, gone.row.accounts) == (OfferState.ARCHIVED, 1)
    assert "growth" not in [offer.code for offer in await catalogue.list_offers(database)]
    assert (await harness.live()).offer.code == "growth"
    for attempt in (edit(harness, 0, FIELDS, code="growth"), publish(harness, 0, code="growth")):
        with pytest.raises(OfferArchivedError):
            await attempt
    await publishing.archive_offer(database, ANA, "growth", reason="Old", now=harness.now)
    await publishing.unarchive_offer(database, ANA, "growth", reason="Again", now=harness.now)
    assert "growth" in [offer.code for offer in await catalogue.list_offers(database)]
    assert [row[0] for row in audit(harness)] == ["archive_offer", "unarchive_offer"]


async def test_list_shows_state_of_each_offer(harness: BillingHarness) -> None:
    database = harness.services.database
    await create(harness)
    await publishing.archive_offer(database, ANA, "scale", reason="Old", now=harness.now)
    states: dict[OfferState, list[str]] = {}
    for state in OfferState:
        page = await offers.list_staff_offers(
            database, ANA, offers.OfferQuery(state=state), now=harness.now
        )
        states[state] = [row.code for row in page.items]
    assert states[OfferState.DRAFT] == ["team"]
    assert states[OfferState.ARCHIVED] == ["scale"]
    assert "starter" in states[OfferState.PUBLISHED]
    everything = await offers.list_staff_offers(database, ANA, now=harness.now)
    assert len(everything.items) == sum(len(codes) for codes in states.values())


PACK = replace(TERMS, interval=Interval.ONCE)
BAD = {
    "name": [replace(TERMS, name="  "), replace(TERMS, name="x" * 251), replace(TERMS, name="a\0")],
    "description": [replace(TERMS, description="x" * 1_001), replace(TERMS, description="\0")],
    "executions": [replace(TERMS, executions=n) for n in (0, -1, 10**12 + 1, 10**30)],
    "price_minor": [
        *(replace(TERMS, price_minor=n) for n in (-1, 100_000_000, 10**30)),
        replace(TERMS, currency="ISK", price_minor=150),
        replace(TERMS, currency="KWD", price_minor=1_005),
    ],
    "currency": [replace(TERMS, currency=c) for c in ("XXX", "eur", "EURO", "", "€", "UGX")],
    "trial_days": [replace(TERMS, trial_days=n) for n in (-1, 731)] + [replace(PACK, trial_days=1)],
    "valid_days": [replace(TERMS, valid_days=5), replace(PACK, valid_days=0)],
    "priority": [replace(TERMS, priority=n) for n in (0, -5, 1_000)],
    "overage": [replace(PACK, overage=SOFT)],
    "overage_unit_price_minor": [replace(TERMS, overage=replace(SOFT, unit_price_minor=0))],
    "overage_unit_executions": [replace(TERMS, overage=replace(SOFT, unit_executions=-1))],
    "overage_limit_executions": [replace(TERMS, overage=replace(SOFT, limit_executions=0))],
}


@pytest.mark.parametrize(
    ("field", "terms"), [(field, terms) for field, each in BAD.items() for terms in each]
)
async def test_bad_terms(harness: BillingHarness, field: str, terms: OfferTerms) -> None:
    with pytest.raises(InvalidInputError) as raised:
        await create(harness, what=DraftFields(terms))
    assert raised.value.extensions["field"] == field
    assert audit(harness) == []


@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, currency="JPY", price_minor=500),
        replace(TERMS, currency="KWD", price_minor=1_010),
        replace(TERMS, price_minor=0, trial_days=14, overage=SOFT),
        replace(PACK, valid_days=365, priority=5),
    ],
)
async def test_unusual_but_valid_terms(harness: BillingHarness, terms: OfferTerms) -> None:
    await create(harness, what=DraftFields(terms))
    out = await publish(harness, 1)
    assert replace(out.versions[0].terms, priority=terms.priority) == terms


@pytest.mark.parametrize("code", ["", "A", "a b", "-a", "a-", "a" * 65, "ä", "a\n", "../x"])
async def test_bad_codes(harness: BillingHarness, code: str) -> None:
    with pytest.raises(InvalidInputError):
        await create(harness, code)


async def test_other_refusals(harness: BillingHarness) -> None:
    database = harness.services.database
    with pytest.raises(OfferTakenError):
        await create(harness, "starter")
    await create(harness)
    for revision in (-1, 0, 7):
        with pytest.raises(InvalidInputError):
            await edit(harness, revision, fields(executions=2))
    for position in (-1, 10**7):
        with pytest.raises(InvalidInputError):
            await edit(harness, 1, replace(FIELDS, position=position))
    with pytest.raises(OfferNotFoundError):
        await publish(harness, 1, code="nothing")
    with pytest.raises(OfferNotFoundError):
        await offers.list_accounts_on(database, ANA, "starter", 9, now=harness.now)
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(InvalidInputError):
            await publishing.archive_offer(database, ANA, "team", reason=reason, now=harness.now)
    assert len(audit(harness)) == 1


@pytest.mark.parametrize("role", [StaffRole.SUPPORT, StaffRole.BILLING, None])
async def test_only_admins_change_offers(harness: BillingHarness, role: StaffRole | None) -> None:
    database = harness.services.database
    actor = StaffActor("usr_x", "X", role) if role else UserActor("usr_x", "X", "x@example.com")
    wanted = StaffRoleMissingError if role else ForbiddenError
    rest: dict[str, Any] = {"reason": "Because", "now": harness.now}
    more: dict[str, Any] = {"revision": 0, **rest}
    for attempt in (
        publishing.create_offer(database, actor, code="x", fields=FIELDS, **rest),
        publishing.edit_offer(database, actor, "starter", fields=FIELDS, **more),
        publishing.publish_draft(database, harness.services.provider, actor, "starter", **more),
        publishing.archive_offer(database, actor, "starter", **rest),
        publishing.unarchive_offer(database, actor, "starter", **rest),
    ):
        with pytest.raises(wanted):
            await attempt
    if role is None:
        with pytest.raises(ForbiddenError):
            await offers.list_staff_offers(database, actor, now=harness.now)
    else:
        assert (await offers.list_staff_offers(database, actor, now=harness.now)).items
    assert audit(harness) == []


async def test_operator_may_change_offers(harness: BillingHarness) -> None:
    page = await offers.list_staff_offers(
        harness.services.database, OperatorActor(), now=harness.now
    )
    assert page.items
