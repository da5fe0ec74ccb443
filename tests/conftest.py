"""Makes the helper modules of this folder importable: pytest puts the folder of a conftest on the path."""
