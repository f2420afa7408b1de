"""Leaving for Stripe's pages, which cannot open inside a frame."""

import json
from typing import Final

from billing_app.billing.actors import PersonActor, PortalActor
from billing_app.states.views import Message

# What the browser says of BREAK_OUT.
TOP, TAB, BLOCKED = "top", "tab", "blocked"
# The whole window leaves; where the frame is sandboxed, a new tab opens.
BREAK_OUT: Final = """(() => {
  const url = %s;
  try {
    window.top.location.href = url;
    return "top";
  } catch {
    const tab = window.open(url, "_blank");
    if (!tab) return "blocked";
    tab.opener = null;
    return "tab";
  }
})()"""


def break_out(url: str) -> str:
    """The script."""
    return BREAK_OUT % json.dumps(url)


def way_back(actor: PersonActor, usual: str, *, is_embedded: bool) -> str:
    """Where Stripe sends people back to: out of a frame, to the product's page, because our own
    knows them inside its frames only."""
    if is_embedded and isinstance(actor, PortalActor):
        return actor.return_url
    return usual


def after_leaving(how: str, url: str) -> Message:
    """What the page says, once the browser has left or could not."""
    if how == TAB:
        return Message(
            title="Continue in the new tab",
            text="The payment page has opened there. This page shows the result by itself.",
        )
    return Message(
        tone="warning",
        title="The payment page did not open",
        text="Your browser blocked it.",
        url=url,
        url_label="Open it in a new tab",
    )
