"""Which addresses and URLs webhooks may be sent to. Pure: names are resolved by the sender."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from billing_app.billing.errors import InvalidInputError

MAX_URL_LENGTH: Final = 2_000
MAX_PORT: Final = 65_535
# An IPv4 address is within an address of these: in its last 32 bits (RFC 6052), or after the
# first 16 (6to4, RFC 3056).
NAT64: Final = IPv6Network("64:ff9b::/96")
SIX_TO_FOUR: Final = IPv6Network("2002::/16")
# What is assigned to the internet at large (RFC 4291), but protocols and documentation.
UNICAST: Final = IPv6Network("2000::/3")
SPECIAL: Final = (
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
)
RELAYS: Final = ("192.88.99.",)


def is_public(address: str) -> bool:
    """Whether an address, as a resolver writes it, is on the public internet.

    An IPv6 address that leads to an IPv4 address is what that one is.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        return _is_public_v6(found)
    return _is_public_v4(found)


def _is_public_v4(address: IPv4Address) -> bool:
    is_special = address.is_multicast or address.is_reserved
    return address.is_global and not is_special and not str(address).startswith(RELAYS)


def _is_public_v6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return _is_public_v4(address.ipv4_mapped)
    if address in NAT64:
        return _is_public_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address in SIX_TO_FOUR:
        return _is_public_v4(IPv4Address((int(address) >> 80) & 0xFFFFFFFF))
    is_special = any(address in network for network in SPECIAL)
    return address in UNICAST and address.is_global and not is_special


def check_url(url: str, *, allow_private: bool) -> str:
    """The URL of an endpoint: https, or http too where private addresses are allowed; any port; no
    user, no fragment. A literal address must be public. Raises InvalidInputError."""
    url = url.strip()
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise _invalid("Write names that are not ASCII in Punycode, and encode other characters.")
    if not 1 <= len(url) <= MAX_URL_LENGTH:
        raise _invalid(f"It has 1 to {MAX_URL_LENGTH:,} characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _invalid("It must look like https://example.com/webhooks.") from None
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not host or port == 0:
        raise _invalid(f"It must look like {schemes[0]}://example.com/webhooks.")
    if parts.username is not None or parts.password is not None or "#" in url:
        raise _invalid("It must have no user name, password or fragment.")
    if not allow_private and _is_private_host(host):
        raise _invalid("It must be on the public internet.")
    return url


def _is_private_host(host: str) -> bool:
    """As far as the URL itself tells."""
    try:
        ip_address(host)
    except ValueError:
        name = host.rstrip(".")
        return "." not in name or name.endswith((".localhost", ".local", ".internal"))
    return not is_public(host)


def _invalid(why: str) -> InvalidInputError:
    return InvalidInputError(f"The URL cannot be used. {why}", field="url")
