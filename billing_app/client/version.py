"""The version of this client, which is the server's that it was made with."""

__version__ = "0.2.0"
USER_AGENT = f"billing-client/{__version__}"
