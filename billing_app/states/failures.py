"""What the viewer is told when an event failed in a way that nobody foresaw."""

import reflex as rx
import structlog
from reflex.event import EventSpec

log = structlog.get_logger(__name__)


def tell_of_failure(exception: Exception) -> EventSpec:
    """A word to the viewer, the whole of it to the log."""
    log.error("event_failed", exc_info=exception)
    return rx.toast.error(
        "That did not work",
        description="The server could not do this right now. Try again in a moment.",
        position="top-center",
        id="event-failed",
        fallback_to_alert=True,
    )
