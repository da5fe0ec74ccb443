"""The one exception whose message is written for the person who typed the command."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: the message names the file, row or key, and the remedy."""


class BadContent(UserError):
    """Content that cannot be decoded; the runner adds the item's id to the message."""

    def __init__(self, content: object, reason: str):
        super().__init__(f"{content}: {reason}")
        self.content, self.reason = content, reason


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as "; did you mean 'cca'?", or a list of what there is when nothing is near."""
    known = sorted(names)
    folded = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
