"""Methods that are made of functions keep their names and descriptions."""

from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def documented(method: Method, described: Callable[..., Any]) -> Method:
    method.__name__ = described.__name__
    method.__qualname__ = described.__qualname__
    method.__doc__ = described.__doc__
    return method
