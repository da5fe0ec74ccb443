"""A plug-in of one's own to begin with: a template's worked example under another name."""

from pathlib import Path

from cmr import project, registry
from cmr.errors import UserError
from cmr.publish import atomic

EXAMPLES = {
    "method": ("class_means", "ClassMeans", "Class means"),
    "extractor": ("colour_layout", "ColourLayout", "Colour layout"),
    "dataset": ("captioned_folders", "CaptionedFolders", "Captioned folders"),
    "metric": ("precision_at_k", "PrecisionAtK", "Precision at k"),
}
"""How a template names its example: file, class, title."""
KINDS = {key: kind for kind, key in registry.KEYS.items() if key in EXAMPLES}
"""Template → the registry's kind, whose folder the copy goes into."""


def new(template: str, name: str, folder: Path) -> Path:
    """Writes ``folder/KIND/name.py``, the template with its names set, and returns its path.

    Raises `UserError` for a name that no plug-in can have, one that is taken, and where the file is there already.
    """
    kind = KINDS[template]
    if not registry.OWN_NAME.fullmatch(name):
        raise UserError(f"{name!r}: a name is letters, digits and '_', 40 at most, such as {EXAMPLES[template][0]!r}")
    if name in registry.names(kind):
        raise UserError(f"{registry.path(kind, name)}: there is a {template} {name!r} already; take another name")
    file = folder / kind / f"{name}.py"
    if file.exists():
        raise UserError(f"{file}: it is there already, and is not overwritten; take another name, or remove it")
    with atomic(file) as temporary:
        temporary.write_text(named(template, name), "utf-8")
    return file


def named(template: str, name: str) -> str:
    """The template's text under another name; its example stays, to be replaced step by step."""
    words = [word for word in name.split("_") if word]
    class_name = "".join(word[0].upper() + word[1:] for word in words)
    title = " ".join([words[0].capitalize(), *words[1:]])
    text = project.path(f"workflow/templates/{template}.py").read_text("utf-8")
    for old, new_name in zip(EXAMPLES[template], (name, class_name, title), strict=True):
        text = text.replace(old, new_name)
    return text
