"""Which days of usage are still kept: those past the operator's retention are removed."""

from datetime import date, datetime

from billing_app.db.partitions import start_of_month


def days_kept_from(now: datetime, retention_months: int | None) -> date | None:
    """The first UTC day whose usage is kept, the start of a month; None: all is.

    Days before it are removed when their events are (billing/retention.py).
    """
    return None if retention_months is None else start_of_month(now, -retention_months).date()
