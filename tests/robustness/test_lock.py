"""The lock names what the project asks for, each package with hashes, and nobody's address."""

import re
import tomllib

from toy_clones import ROOT

LOCK = (ROOT / "requirements.lock").read_text("utf-8")
BLOCKS = re.findall(r"^([a-z0-9][\w.-]*)==(\S+) \\\n((?: +--hash=\S+(?: \\)?\n)+)", LOCK, re.MULTILINE)


def test_every_pin_of_the_project_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    locked = {f"{name}=={version}" for name, version, _ in BLOCKS}
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {pin.partition(";")[0] for pin in asked} <= locked


def test_every_package_has_hashes_and_none_an_address():
    assert len(BLOCKS) == len(re.findall(r"^[^#\s]", LOCK, re.MULTILINE)) > 100
    assert all(re.fullmatch(r"( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+", hashes) for *_, hashes in BLOCKS)
    assert not re.search(r"://|--(extra-)?index|--find-links| @ ", LOCK)
