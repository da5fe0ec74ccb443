"""A folder of the user's own plug-ins, for tests: two methods that share a module; a metric."""

import sys
import textwrap
from contextlib import contextmanager

from cmr import code, registry
from cmr.metrics.configured import ConfiguredMetric

METHOD = '''
    """{title}: a test's method."""

    import numpy as np

    from cmr.info import MethodInfo
    from cmr.methods.base import History, Method
    from cmr.params import Params as BaseParams

    from ..helpers import centred

    INFO = MethodInfo(title="{title}", implementation="own", modalities="any", labels=False, stochastic=False)


    class Params(BaseParams):
        pass


    class Own(Method):
        def fit(self, train, validation=None, unlabelled=None):
            self.means = {{m: view.features.mean(0) for m, view in train.items()}}
            return History()

        def embed(self, modality, features):
            return centred(features, self.means[modality])[:, :{columns}].astype(np.float32)

        def state(self):
            return self.means

        def load_state(self, state):
            self.means = dict(state)
'''
HELPERS = '''
    """What both methods share."""


    def centred(rows, mean):
        return rows - mean  # a row each
'''
METRIC = '''
    """{name}: a test's metric. Tie rule: none."""

    import numpy as np

    from cmr.info import MetricInfo
    from cmr.params import Params as BaseParams

    INFO = MetricInfo(title="{name}", gives="{gives}", range="[0, 1]", x="x", y="y")


    class Params(BaseParams):
        pass


    def summary(values, gallery_size):
        return values.mean(axis=-1)


    def compute({arguments}):
'''


def write_folder(folder):
    """``folder`` with the methods ``shifted`` and ``cut``, and the module that they share."""
    for name, text in {
        "methods/shifted.py": METHOD.format(title="Shifted", columns=4),
        "methods/cut.py": METHOD.format(title="Cut", columns=2),
        "helpers.py": HELPERS,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text).lstrip())
    return folder


def forget():
    """As a new process: no folder, and nothing remembered of the files in one."""
    registry.use(None)
    for module in (registry, code):
        for function in vars(module).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()
    for name in [name for name in sys.modules if registry.is_own(name)]:
        del sys.modules[name]


@contextmanager
def own_metric(folder, name, body, gives="number", arguments="ranking, params"):
    """The metric of a folder of plug-ins whose ``compute`` has the ``body``."""
    text = textwrap.dedent(METRIC.format(name=name, gives=gives, arguments=arguments)).lstrip()
    (folder / "metrics").mkdir(parents=True, exist_ok=True)
    (folder / "metrics" / f"{name}.py").write_text(text + textwrap.indent(body, "    ") + "\n")
    forget()
    registry.use(folder)
    try:
        yield ConfiguredMetric.from_entry({"id": name, "metric": name, "params": {}})
    finally:
        forget()
