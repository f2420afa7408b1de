"""Runs each action on a page as one undoable step and sends the events that it causes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from billing_app.stripe_sandbox.errors import StripeError
from billing_app.stripe_sandbox.pages.layout import read_expiry
from billing_app.stripe_sandbox.resources import billing_details
from billing_app.stripe_sandbox.resources.checkout_payment import CardInput
from billing_app.stripe_sandbox.webhooks import Deliverer
from billing_app.stripe_sandbox.world import World

T = TypeVar("T")


@dataclass(frozen=True)
class Desk:
    """What the pages need to act on the sandbox."""

    world: World
    deliverer: Deliverer

    def act(self, step: Callable[[], T]) -> T:
        """Runs the step. Raises StripeError with everything undone."""
        try:
            with self.world.store.savepoint():
                return step()
        finally:
            self.deliverer.take_new_events()

    def try_to(self, step: Callable[[], object]) -> str:
        """Runs the step. Returns Stripe's error message; empty on success."""
        try:
            self.act(step)
        except StripeError as error:
            return error.error["message"]
        return ""


def desk_of(request: Request) -> Desk:
    return request.app.state.desk


async def read_form(request: Request) -> dict[str, str]:
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


def read_card(form: dict[str, str]) -> CardInput | str:
    """The card that was entered, or an error message."""
    number = "".join(form.get("number", "").split())
    try:
        month, year = read_expiry(form.get("expiry", ""))
    except ValueError:
        return "Your card's expiration date is incomplete."
    if not number:
        return "Your card number is incomplete."
    return CardInput(
        number,
        month,
        year,
        form.get("email", "").strip(),
        form.get("name", "").strip(),
        billing_details.read(form),
    )
