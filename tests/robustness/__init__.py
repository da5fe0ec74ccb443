"""Faults, bad input, reproducibility and leakage: what the project promises, tried on the real workflow."""
