# Helper functions of the rules: from wildcards to the plan's entries, and what jobs need.
import math
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The package that this Snakefile belongs to, also where another one is installed; so for the jobs. In a clone it is in
# workflow/; an installed one has this Snakefile in cmr/project/.
HERE = Path(workflow.basedir)
sys.path.insert(0, str(HERE / "workflow" if (HERE / "workflow" / "cmr").exists() else HERE.parents[1]))

from cmr import cluster, config as configuration, paths, provenance
from cmr.device import gpu_is_here
from cmr.errors import UserError
from cmr.jobs import hand_on_import_path
from cmr.plan import Fit, Plan

hand_on_import_path(sys.path[0])
os.umask(0o002)  # what Snakemake itself writes is the group's too, as in cmr.jobs

SITE_FILE = Path(workflow.basedir) / "slurm" / "site.yaml"

OWN_CONFIG = [file for file in workflow.configfiles if file not in workflow.overwrite_configfiles]
CONFIG_FILES = [*OWN_CONFIG, *workflow.overwrite_configfiles]

try:
    BASE = configuration.data_base(CONFIG_FILES)
    PLAN = Plan(configuration.validate(config, ", ".join(map(str, CONFIG_FILES)) or "configuration"))
    DATA_FILES = {data: configuration.data_files(entry, BASE) for data, entry in PLAN.datasets.items()}
    SITE = cluster.load(SITE_FILE)
except UserError as error:
    raise WorkflowError(str(error))


def start():
    """Before the first job: what would let all of them fail is said at once."""
    # Snakemake's limit of jobs a second, 100 by default, wakes the scheduler a second after each time that it was awake:
    # every job that ends adds one more such chain, and after hundreds of jobs they keep a core busy.
    workflow.scheduler.job_rate_limiter = None
    try:
        cluster.check_writable(paths.RESULTS)
        if on_cluster():
            cluster.preflight(SITE, SITE_FILE)
            os.environ.update(SITE.environment)  # sbatch hands it on to the jobs
    except UserError as error:
        raise WorkflowError(str(error))


def on_cluster():
    """Whether jobs are sent from here, or here is one. Known once the workflow starts, not while this file is read."""
    return workflow.remote_exec or not workflow.local_exec


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


# A cluster job runs its short runs one after another, and has one GPU; how many the cluster has is for SLURM to know.
# Set here, not in a profile, which Snakemake does not read again inside a job.
resource_scopes:
    gpu="local",
    brief="local",


workflow.register_resource("brief", 1)
if workflow.remote_exec:
    workflow.register_resource("gpu", 1)


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
    return int(wanted and (CONFIG.device == "cuda" or GPU_HERE or on_cluster()))


def brief(wildcards):
    """The group of a short run: those of methods without a GPU share a cluster job, each with files of its own."""
    if PLAN.methods[wildcards.method].info.gpu:
        return None
    if workflow.remote_exec:
        # One Snakemake for all runs of the job, not one each: the executor does not hand on the profile's number.
        workflow.group_settings.group_components["brief"] = len(PLAN.runs)
    return "brief"


def one_at_a_time(wildcards):
    """1 for a short run on a cluster: those of one cluster job run one after another."""
    return int(on_cluster() and brief(wildcards) is not None)


def megabytes(files):
    return sum(os.path.getsize(file) for file in ([files] if isinstance(files, str) else files)) / 1e6


def needs(files, memory, minutes, info=lambda wildcards: None):
    """A rule's resources, from the size (MB) of the input files of the name ``files``; more on every further attempt.

    ``memory`` and ``minutes``, by wildcards: what a job needs at least, and what each MB adds. ``info``: its plug-in's.
    """

    def growing(amount):
        def needed(wildcards, input, attempt):
            at_least, per_megabyte = amount(wildcards)
            return math.ceil((at_least + per_megabyte * megabytes(input[files])) * attempt)

        return needed

    def from_site(key):
        return lambda wildcards: SITE.resources(gpus(plugin) if (plugin := info(wildcards)) else 0).get(key)

    return {
        **{key: from_site(key) for key in cluster.RESOURCES},
        "mem_mb": growing(memory),
        "runtime": growing(minutes),
    }


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
