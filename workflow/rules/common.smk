# Helper functions of the rules: from wildcards to the plan's entries, and what jobs need.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Jobs run the code of this clone, also where another one is installed.
PACKAGE = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, PACKAGE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [PACKAGE, os.environ.get("PYTHONPATH")]))

from cmr import config as configuration, paths, provenance
from cmr.errors import UserError
from cmr.plan import Fit, Plan

CONFIG_FILES = [f for f in workflow.configfiles if f not in workflow.overwrite_configfiles]
CONFIG_FILES += workflow.overwrite_configfiles

try:
    PLAN = Plan(configuration.validate(config, " + ".join(map(str, CONFIG_FILES)) or "configuration"))
except UserError as error:
    raise WorkflowError(str(error))

CONFIG = PLAN.config
BASE = configuration.data_base(CONFIG_FILES)
EXPERIMENT_FILES = [paths.EXPERIMENT.format(experiment=experiment) for experiment in PLAN.runs_of]
GPU_HERE = Path("/dev/nvidia0").exists()


wildcard_constraints:
    data="[^/]+",
    split="[^/]+",
    feature="[^/]+",
    inputs="[^/]+",
    dictionary="[^/]+",
    method="[^/]+",
    experiment="[^/]+",
    seed=r"\d+",


def dataset(wildcards):
    return PLAN.datasets[wildcards.data].model_dump(mode="json")


def feature(wildcards):
    return PLAN.features[wildcards.feature].model_dump(mode="json")


def feature_entries(inputs):
    return [PLAN.features[name].model_dump(mode="json") for name in inputs]


def fit_of(wildcards):
    return Fit(wildcards.data, wildcards.split, tuple(wildcards.inputs.split("+")), wildcards.method, int(wildcards.seed))


def code(kind, plugin):
    return provenance.code_hash(kind, plugin)


def gpus(info):
    """1 for a plug-in that uses a GPU: on a cluster always, on this machine where it has one or one is demanded."""
    wanted = info.gpu and CONFIG.device != "cpu"
    return int(wanted and (CONFIG.device == "cuda" or GPU_HERE or not workflow.local_exec))


def local_gpus(info):
    """The same, on this machine only: the default profile lets one such job run at a time."""
    return gpus(info) if workflow.local_exec else 0
