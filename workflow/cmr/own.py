"""The package of the user's own plug-ins: ``my/methods/x.py`` is the module ``cmr.own.methods.x``.

`cmr.registry.use` puts the folder that the configuration names as ``plugins`` into its path. Modules in the folder
reach each other by relative imports: in ``my/methods/x.py`` it is ``from ..helpers import y`` for ``my/helpers.py``.
"""

__path__: list[str] = []
