"""The version of this client, which is the server's that it was made with."""

from typing import Final

__version__: Final = "0.2.0"
USER_AGENT: Final = f"billing-client/{__version__}"
