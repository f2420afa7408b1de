"""Webhooks go to the public internet, however an address is written."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.webhooks_out.addresses import MAX_URL_LENGTH, check_url, is_public

INSIDE = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/29", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
INSIDE_V6 = (
    *("::/128", "::1/128", "::/96", "100::/64", "2001::/32", "2001:db8::/32", "3fff::/20"),
    *("64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
)
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "172.32.0.1", "198.20.0.1")


def within(networks: tuple[str, ...]) -> st.SearchStrategy[int]:
    ranges = [ip_network(each) for each in networks]
    return st.one_of(
        *(st.integers(int(each.network_address), int(each.broadcast_address)) for each in ranges)
    )


@given(within(INSIDE))
def test_private_and_special_addresses_are_refused_in_every_form(number: int) -> None:
    address = IPv4Address(number)
    assert not is_public(str(address))
    for form in (
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80) | 1),
        IPv6Address(number),
    ):
        assert not is_public(str(form)), form


@given(within(INSIDE_V6))
def test_private_and_special_ipv6_addresses_are_refused(number: int) -> None:
    assert not is_public(str(IPv6Address(number)))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed_in_every_form(address: str) -> None:
    number = int(IPv4Address(address))
    assert is_public(address)
    assert is_public(str(IPv6Address((0xFFFF << 32) | number)))
    assert is_public(str(IPv6Address((0x64FF9B << 96) | number)))


@pytest.mark.parametrize("address", ["2606:4700:4700::1111", "2a00:1450:4001:829::200e"])
def test_public_ipv6_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "1.1.1", "0x7f000001", "fe80::1%eth0", "::g"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/a/b?c=d",
        "https://1.1.1.1/hook",
        "https://[2606:4700:4700::1111]/hook",
        " https://example.com/hook ",
    ],
)
def test_public_urls_are_accepted(url: str) -> None:
    assert check_url(url, allow_private=False) == url.strip()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "http://example.com",
        "https://",
        "https:///hook",
        "https://user@example.com",
        "https://user:secret@example.com",
        "https://example.com/#part",
        "https://example.com#",
        "https://exa mple.com",
        "https://example.com\\@127.0.0.1/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:port/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1:443/",
        "https://localhost/",
        "https://localhost./",
        "https://api.localhost/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://intranet/",
        "https://exämple.com/",
        "https://example.com/\na",
        "https://example.com/\x00",
        "https://example.com/" + "a" * MAX_URL_LENGTH,
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        check_url(url, allow_private=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hook", "https://localhost/", "http://a/"])
def test_setting_allows_private_addresses_and_http(url: str) -> None:
    assert check_url(url, allow_private=True) == url
