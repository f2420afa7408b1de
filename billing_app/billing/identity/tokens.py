"""Tokens of cookies and mailed links, of which the database keeps only the hash."""

from hashlib import sha256


def hash_token(token: str) -> bytes:
    """What the database stores of a token."""
    return sha256(token.encode()).digest()
