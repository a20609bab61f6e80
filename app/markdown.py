"""Text that Markdown must not read as markup."""

from __future__ import annotations


def plain_text(text: str) -> str:
    """Text that Markdown shows as it is, whatever a class is called."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+-.!|$~" else c for c in text)
