"""What every FastAPI route's JSON body is made of."""

from typing import Final

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

MAX_INTEGER: Final = 2**63 - 1


class JsonBody(BaseModel):
    """Strict types, and nothing that PostgreSQL cannot keep: no NUL, no number over 64 bits."""

    model_config = ConfigDict(strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_kept(cls, value: object) -> object:
        if isinstance(value, str) and "\0" in value:
            raise PydanticCustomError("nul", "Input should have no NUL character in it")
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise PydanticCustomError("too_large", "Input should be a number of at most 64 bits")
        return value
