"""Accepted request bodies: JSON in UTF-8, without a Content-Encoding."""

import re
from typing import Final

from billing_app.api.problems import ContentTypeError

JSON: Final = b"application/json"
CHARSETS: Final = frozenset({b"utf-8", b"utf8"})
_charset: Final = re.compile(rb';\s*charset\s*=\s*"?([^\s;"]*)', re.IGNORECASE).search


def require_json(content_type: bytes, content_encoding: bytes) -> None:
    """Raise ContentTypeError unless these headers announce plain JSON in UTF-8."""
    if content_type != JSON and _essence(content_type) != JSON:
        raise ContentTypeError
    refusal = wrong_encoding(content_encoding) or wrong_charset(content_type)
    if refusal is not None:
        raise refusal


def wrong_encoding(content_encoding: bytes) -> ContentTypeError | None:
    """The error for an unsupported Content-Encoding; an empty one counts as none."""
    if content_encoding.strip().lower() in {b"", b"identity"}:
        return None
    return ContentTypeError("Send the body uncompressed, without a Content-Encoding.")


def wrong_charset(content_type: bytes) -> ContentTypeError | None:
    """The error for a JSON body in another charset; other types are not checked here."""
    if content_type == JSON or _essence(content_type) != JSON:
        return None
    found = _charset(content_type)
    if found is None or found[1].lower() in CHARSETS:
        return None
    return ContentTypeError("JSON must be encoded in UTF-8 (RFC 8259, 8.1).")


def _essence(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()
