"""Which webhooks are legal: where they may lead, which events they may name.

What is reached must be what was meant: a name that leads into the site's own network is refused unless the webhook was
added for that, and a machine's link-local services always are.
"""

from collections.abc import Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from chalicelib.domain.errors import Rejected
from chalicelib.domain.event_data import KINDS
from chalicelib.domain.webhooks import Webhook

MOST_URL = 2000  # characters
LEAST_PATIENCE, MOST_PATIENCE = timedelta(seconds=1), timedelta(days=30)
# Where clouds answer with a machine's own credentials, beside 169.254.0.0/16.
_NEVER = (ip_network("fd00:ec2::/32"), ip_network("100.100.100.200/32"), ip_network("192.0.0.192/32"))

Address = IPv4Address | IPv6Address


def checked(webhook: Webhook) -> Webhook:
    """Return a webhook that can be called; raises Rejected."""
    _check_url(webhook.url, private=webhook.private)
    _check_kinds(webhook.kinds)
    if not LEAST_PATIENCE <= webhook.patience <= MOST_PATIENCE:
        raise _bad("patience", f"give {LEAST_PATIENCE.seconds} second to {MOST_PATIENCE.days} days")
    return webhook


def may_reach(address: Address, *, private: bool) -> bool:
    """Tell whether a webhook may lead to an address; `private` lets it into networks that aren't the internet."""
    plain = _unmapped(address)
    odd = plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain == IPv4Address("255.255.255.255")
    if odd or any(plain in network for network in _NEVER):
        return False
    return plain.is_global or private


def why_not(host: str, addresses: Sequence[Address], *, private: bool) -> str:
    """Say why none of a host's addresses may be reached."""
    at = f"{host} is at {', '.join(map(str, addresses[:3]))}"
    if private:
        return f"{at}: what is there is a machine's own, and no webhook may reach it"
    return f"{at}: not an address of the internet; a webhook into your own network is added with --private"


def _unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for."""
    inner = address.ipv4_mapped or address.sixtofour if isinstance(address, IPv6Address) else None
    return inner or address


def _check_url(url: str, *, private: bool) -> None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise _bad("url", f"{url[:200]!r} is no URL: {error}") from error
    if len(url) > MOST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise _bad("url", f"give at most {MOST_URL} printable ASCII characters without spaces")
    _check_parts(parts, private=private)
    _check_address(parts.hostname or "", private=private)


def _check_parts(parts: SplitResult, *, private: bool) -> None:
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _bad("url", "give https://HOST/…")
    if parts.scheme == "http" and not private:
        raise _bad("url", "plain http is taken only with --private, for a receiver in your own network")
    if parts.username is not None or parts.password is not None:
        raise _bad("url", "leave name and password out: everybody who lists the webhooks would read them")
    if parts.fragment:
        raise _bad("url", "leave out what follows '#': it isn't sent")


def _check_address(host: str, *, private: bool) -> None:
    """Refuse an address that stands in the URL itself; names are looked up at each call."""
    try:
        address = ip_address(host)
    except ValueError:
        return
    if not may_reach(address, private=private):
        raise _bad("url", why_not(host, [address], private=private))


def _check_kinds(patterns: Sequence[str]) -> None:
    if not patterns:
        raise _bad("kinds", "give at least one, such as 'rollout.*', or '*' for all")
    for pattern in patterns:
        if not any(fnmatchcase(kind, pattern) for kind in KINDS):
            raise _bad("kinds", f"{pattern[:80]!r} is no kind of event; there are {', '.join(KINDS)}, and '*'")


def _bad(where: str, what: str) -> Rejected:
    return Rejected(f"{where}: {what}", code="bad_webhook")
