"""Base class of the FastAPI routes' JSON bodies."""

from typing import Final

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

MAX_INTEGER: Final = 2**63 - 1


class JsonBody(BaseModel):
    """Strict types, known members, and only what PostgreSQL can store: no NUL, no number over 64
    bits."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_stored(cls, value: object) -> object:
        if isinstance(value, str) and "\0" in value:
            raise PydanticCustomError("nul", "Input should not contain a NUL character")
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise PydanticCustomError("too_large", "Input should fit into 64 bits")
        return value
