"""Fixtures of this folder."""

from toy_clones import finished, finished_once, fresh

__all__ = ["finished", "finished_once", "fresh"]
