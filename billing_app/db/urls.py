"""One DATABASE_URL for two drivers: psycopg, which supports all libpq parameters, and asyncpg."""

from typing import Final
from urllib.parse import parse_qsl, urlencode

from psycopg import pq

KNOWN_TO_ASYNCPG: Final = (
    "application_name dbname gsslib host krbsrvname options passfile password port service"
    " ssl_max_protocol_version ssl_min_protocol_version sslcert sslcrl sslkey sslmode"
    " sslnegotiation sslpassword sslrootcert target_session_attrs user"
)


def for_asyncpg(url: str) -> str:
    """`url` without the parameters that only libpq understands: asyncpg would send them as server
    settings, and the server would refuse the connection."""
    address, _, query = url.partition("?")
    libpq = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    refused = libpq - set(KNOWN_TO_ASYNCPG.split())
    kept = [(name, value) for name, value in parse_qsl(query) if name not in refused]
    return f"{address}?{urlencode(kept)}" if kept else address
