"""What the routes of organizations and users share: bodies and ids."""

from typing import Annotated, Any, Final

from fastapi import Path
from pydantic import Field

from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import NO_CONTROL, NO_NUL, OfferCode
from billing_app.billing.accounts.names import MAX_LENGTH as MAX_NAME_LENGTH
from billing_app.billing.accounts.profiles import (
    MAX_METADATA,
    MAX_METADATA_KEY,
    MAX_METADATA_VALUE,
)
from billing_app.billing.accounts.provisioning import AccountFields
from billing_app.billing.identity.sessions import MAX_EMAIL_LENGTH, PUBLISHED_EMAIL

_PRINTABLE: Final = r"[^\x00-\x1f\x7f-\x9f]*"
NOT_BLANK: Final = rf"^{_PRINTABLE}[^\s\x00-\x1f\x7f-\x9f]{_PRINTABLE}$"
ID: Final = (
    "Your own ID; percent-encode it. No control characters; a new one must not look like a"
    " generated one, or be . or .."
)
ExternalId = Annotated[str, Path(min_length=1, max_length=255, pattern=NO_CONTROL, description=ID)]
Name = Annotated[
    str,
    Field(
        description="Has a character that can be seen",
        json_schema_extra={"minLength": 1, "maxLength": MAX_NAME_LENGTH, "pattern": NOT_BLANK},
    ),
]
Email = Annotated[
    str | None,
    Field(
        description="Used on invoices at once, without a confirmation; null removes it. `=?` in an"
        " address is refused",
        json_schema_extra={"maxLength": MAX_EMAIL_LENGTH, "pattern": PUBLISHED_EMAIL},
    ),
]
Offer = Annotated[
    OfferCode | None, Field(description="A free offer, or one with a trial, to begin with")
]
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=MAX_METADATA_KEY, pattern=NO_NUL)],
        Annotated[str, Field(max_length=MAX_METADATA_VALUE, pattern=NO_NUL)],
    ]
    | None,
    Field(max_length=MAX_METADATA, description="Kept and given back; replaces what was there"),
]


class AccountBody(JsonBody):
    billing_email: Email = None
    offer: Offer = None
    metadata: Metadata = None

    def fields(self, name: str | None) -> AccountFields:
        """A member that is left out stays as it is."""
        removes_email = self.billing_email is None and "billing_email" in self.model_fields_set
        return AccountFields(
            name=name,
            billing_email="" if removes_email else self.billing_email,
            offer=self.offer,
            metadata=self.metadata,
        )


def created(view: type[Any]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a PUT that may create."""
    return {200: {"description": "Updated"}, 201: {"description": "Created", "model": view}}
