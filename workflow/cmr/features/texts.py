"""What text extractors share: words."""

import re


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order, without punctuation."""
    return re.findall(r"[^\W_]+", text.lower())
