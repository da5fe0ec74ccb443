"""Cross-modal retrieval: data sets, features, methods, metrics and reports. Knows nothing of Snakemake."""

__version__ = "0.1.0"
