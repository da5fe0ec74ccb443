# Helper functions of the rules: from wildcards to the plan's entries, and what jobs need.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The code of this clone, also where another one is installed; so for the jobs.
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from cmr import config as configuration, paths, provenance
from cmr.device import gpu_is_here
from cmr.errors import UserError
from cmr.jobs import hand_on_import_path
from cmr.plan import Fit, Plan

hand_on_import_path(sys.path[0])

OWN_CONFIG = [file for file in workflow.configfiles if file not in workflow.overwrite_configfiles]
CONFIG_FILES = [*OWN_CONFIG, *workflow.overwrite_configfiles]

BASE = configuration.data_base(CONFIG_FILES)

try:
    PLAN = Plan(configuration.validate(config, ", ".join(map(str, CONFIG_FILES)) or "configuration"))
    DATA_FILES = {data: configuration.data_files(entry, BASE) for data, entry in PLAN.datasets.items()}
except UserError as error:
    raise WorkflowError(str(error))

CONFIG = PLAN.config
EXPERIMENT_FILES = [paths.EXPERIMENT.format(experiment=experiment) for experiment in PLAN.runs_of]
GPU_HERE = gpu_is_here()

# What differs between machines and changes no result: scripts read it from here, as a changed parameter reruns jobs.
config["machine"] = {
    "cache": CONFIG.cache,
    "device": CONFIG.device,
    "base": BASE,
    "data_root": CONFIG.data_root,
}


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
    return Fit(
        wildcards.data, wildcards.split, tuple(wildcards.inputs.split("+")), wildcards.method, int(wildcards.seed)
    )


def code(kind, plugin):
    return provenance.code_hash(kind, plugin)


def gpus(info):
    """1 for a plug-in that uses a GPU: on a cluster always, on this machine where it has one or one is demanded."""
    wanted = info.gpu and CONFIG.device != "cpu"
    return int(wanted and (CONFIG.device == "cuda" or GPU_HERE or not workflow.local_exec))


def local_gpus(info):
    """The same, on this machine only: the default profile lets one such job run at a time."""
    return gpus(info) if workflow.local_exec else 0


def extract_inputs(wildcards):
    info = PLAN.features[wildcards.feature].info
    needed = {"table": paths.ITEMS.format(data=wildcards.data)}
    if info.kind == "fitted":
        needed["split"] = paths.SPLIT.format(data=wildcards.data, split=wildcards.split)
    if info.weights:
        needed["weights"] = paths.WEIGHTS.format(feature=wildcards.feature)
    return needed


def fit_configuration(wildcards):
    return PLAN.fit_configuration(fit_of(wildcards))


def run_fits(wildcards):
    """The fits of a run, as the evaluation stage takes them."""
    return [
        {"folder": fit.folder, "inputs": list(fit.inputs), "files": PLAN.fit_inputs(fit)}
        for fit in PLAN.fits(fit_of(wildcards))
    ]


def experiment_of(wildcards):
    found = {PLAN.experiment_component(e): e for e in CONFIG.experiments}
    return found[wildcards.experiment].model_dump(mode="json")


def is_extended():
    """Whether the configuration asks for other results than config.yaml alone."""
    return bool(OWN_CONFIG) and Plan(configuration.load(OWN_CONFIG[0])).identity != PLAN.identity
