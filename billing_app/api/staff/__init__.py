"""The staff's part of the API, under /billing/admin."""

from typing import Final

from billing_app.api.staff import audit, members, offers, repairs

modules: Final = (members, repairs, audit, offers)
