"""A self-hosted billing system for services that sell executions."""

from typing import Final

__version__: Final = "0.2.0"
