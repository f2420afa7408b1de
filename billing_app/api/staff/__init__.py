"""The staff's part of the API, under /billing/admin."""

from typing import Final

from billing_app.api.staff import members

modules: Final = (members,)
