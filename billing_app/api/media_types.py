"""Which bodies can be read: JSON in UTF-8, sent as it is."""

import re
from typing import Final

from billing_app.api.problems import ContentTypeError

JSON: Final = b"application/json"
CHARSETS: Final = frozenset({b"utf-8", b"utf8"})
_charset: Final = re.compile(rb';\s*charset\s*=\s*"?([^\s;"]*)', re.IGNORECASE).search


def require_json(content_type: bytes, content_encoding: bytes) -> None:
    """Raises ContentTypeError unless a body of this type and encoding can be read as JSON."""
    if content_type != JSON and _essence(content_type) != JSON:
        raise ContentTypeError
    refusal = wrong_encoding(content_encoding) or wrong_charset(content_type)
    if refusal is not None:
        raise refusal


def wrong_encoding(content_encoding: bytes) -> ContentTypeError | None:
    """What is wrong with a Content-Encoding; an empty one is none."""
    if content_encoding.strip().lower() in {b"", b"identity"}:
        return None
    return ContentTypeError("Send the body as it is, without a Content-Encoding.")


def wrong_charset(content_type: bytes) -> ContentTypeError | None:
    """What is wrong with the charset of a JSON body; other types are no matter of this."""
    if content_type == JSON or _essence(content_type) != JSON:
        return None
    found = _charset(content_type)
    if found is None or found[1].lower() in CHARSETS:
        return None
    return ContentTypeError("JSON is read in UTF-8 only (RFC 8259, 8.1).")


def _essence(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()
