"""Fixtures that several unit tests share."""

import csv

import pytest

from cmr.datasets import downloads


@pytest.fixture
def unchecked(tmp_path, monkeypatch):
    """The data sets' sources without checksums, for tiny files in the place of the real ones; a fresh folder."""
    with open(downloads.SOURCES, newline="", encoding="utf-8") as file:
        rows = [row | {"sha256": "", "git_blob": ""} for row in csv.DictReader(file)]
    with open(tmp_path / "sources.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr(downloads, "SOURCES", tmp_path / "sources.csv")
    return tmp_path
