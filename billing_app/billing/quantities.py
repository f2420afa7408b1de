"""Numbers with their noun, as people read them."""


def counted(count: int, noun: str) -> str:
    """1 execution, 2,000 executions"""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
