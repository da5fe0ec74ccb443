"""The command line: what there is, what is missing, and what results say.

Modules with heavy imports are imported inside the commands that need them, so that a listing is quick.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmr import boundary, paths, process, registry
from cmr.errors import UserError

if TYPE_CHECKING:
    from cmr.machine import Machine

LABELS = (
    "labels of the items, FILE or FILE:KEY: numbers, names, lists, or 0 and 1 with a column a class; npy, npz, mat, "
)
LABELS += "h5, pt, csv, tsv or txt"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; a `UserError` is one line on standard error and status 1."""
    process.prepare()
    options = _parser().parse_args(arguments)
    try:
        _check_clone()
        with boundary.reading(tree) if (tree := _tree(options)) else nullcontext():
            options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `cmr list | head`
        sys.stderr.close()
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)


def _tree(options: argparse.Namespace) -> str | Path | None:
    """The results, or the run in them, that a command reads."""
    named: str | Path | None = getattr(options, "results", getattr(options, "folder", None))
    return named


def _check_clone() -> None:
    """Raises `UserError` in a clone whose code is not the code that runs: what is said here would be of another one."""
    here = Path.cwd() / "workflow" / "cmr"
    if here.exists() and not here.samefile(registry.PACKAGE):
        raise UserError(
            f"{here}: this clone's code is not what runs, but {registry.PACKAGE}; put PYTHONPATH=workflow before the "
            "command, or install this clone (make env)"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cmr", description="Cross-modal retrieval: listings and results.")
    commands = parser.add_subparsers(metavar="command", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    listing = add("list", list_plugins, "List the plug-ins.")
    listing.add_argument("kind", nargs="?", choices=list(registry.FOLDERS), help="one kind only")
    doctor = add("doctor", examine, "Say what is missing (weights, GPU, sbatch) and how to get it.")
    doctor.add_argument("--config", default="config.yaml", help="the configuration to look at")
    check = add("check", check_data, "Look at a configuration and its data before a run; status 1 for errors.")
    check.add_argument(
        "configs", nargs="*", metavar="config", help="what --configfile would name; default: config.yaml"
    )
    summary = add("summary", summarise, "Print the headline table of a results folder.")
    summary.add_argument("results", nargs="?", default=paths.RESULTS, help="default: results")
    measure = add("metrics", measure_files, "Compute the metrics of two files of embeddings, as JSON.")
    measure.add_argument("a", type=Path, help="embeddings, FILE or FILE:KEY, one row an item")
    measure.add_argument("b", type=Path, help="embeddings of the same items, or with --owner of what belongs to them")
    relevant = measure.add_mutually_exclusive_group(required=True)
    relevant.add_argument("--labels", type=Path, help=f"{LABELS}: figures by class")
    relevant.add_argument(
        "--owner", type=Path, help="the row of A, from 0, that each row of B belongs to: figures by instance"
    )
    measure.add_argument("--separator", help="what separates several labels in one text; '' if each is one label")
    measure.add_argument(
        "--no-label",
        nargs="*",
        metavar="LABEL",
        help="labels that stand for none, besides empty ones; none is given: no others",
    )
    measure.add_argument("--at", type=int, default=50, help="cut of the second mAP; default: 50")
    report = add("report", build_report, "Build the report of a results folder, which may be read-only.")
    report.add_argument("results", nargs="?", default=paths.RESULTS, help="default: results")
    report.add_argument("--out", type=Path, required=True, help="folder to write the page into")
    report.add_argument("--title", default="Cross-modal retrieval", help="heading of the page")
    search = add("search", search_run, "Rank the test items of a run for a new text or picture.")
    search.add_argument(
        "folder", metavar="run", type=Path, help="folder of the run: results/runs/DATA/SPLIT/INPUTS/METHOD/SEED"
    )
    search.add_argument("--text", help="the query, a text")
    search.add_argument("--image", type=Path, help="the query, a picture file")
    search.add_argument("-k", type=int, default=10, help="number of items; default: 10")
    search.add_argument("--html", type=Path, help="write a page with thumbnails too")
    search.add_argument("--config", nargs="+", default=["config.yaml"], help="names the cache and where the data lie")
    again = add("rerun", make_again, "Make a recorded run again in a new folder, and compare the figures.")
    again.add_argument("folder", metavar="run", type=Path, help="folder of the run, in any results folder")
    again.add_argument("--directory", type=Path, required=True, help="new folder to make it in")
    again.add_argument("--config", nargs="+", default=["config.yaml"], help="names the cache and where the data lie")
    verify = add("verify", verify_results, "Check every run of a results folder against its record.")
    verify.add_argument("results", nargs="?", default=paths.RESULTS, help="default: results")
    verify.add_argument("--config", nargs="+", default=["config.yaml"], help="names the cache and where the data lie")
    keep = add("accept", accept_results, "Keep results after an edit that changes no figure: a sample is made again.")
    keep.add_argument("--directory", type=Path, required=True, help="new folder to make the sample in")
    keep.add_argument("--sample", type=int, default=1, help="runs to make again for each kind of result; default: 1")
    keep.add_argument("--config", nargs="+", default=["config.yaml"], help="names the cache and where the data lie")
    prune = add("prune", prune_results, "List what no experiment refers to, with sizes.")
    prune.add_argument("results", nargs="?", default=paths.RESULTS, help="default: results")
    prune.add_argument("--config", nargs="+", default=["config.yaml"], help="configurations whose results are kept too")
    prune.add_argument("--yes", action="store_true", help="remove it")
    listing.add_argument("--config", default="config.yaml", help="names the cache where data sets may be")
    for command in (listing, doctor, check, summary, verify, prune):
        command.add_argument("--json", action="store_true", help="for other programs")
    return parser


def list_plugins(options: argparse.Namespace) -> None:
    kinds = [options.kind] if options.kind else list(registry.FOLDERS)
    found = {kind: [_describe(kind, name) for name in registry.names(kind)] for kind in kinds}
    if "datasets" in found:
        cache = Path(machine_settings([options.config]).cache)
        for dataset in found["datasets"]:
            dataset["here"] = _is_here(dataset["raw"], cache)
    if options.json:
        for kind, plugins in found.items():
            for plugin in plugins:
                plugin["params"] = _parameters(kind, plugin["name"])
        _print_json(found[options.kind] if options.kind else found)
        return
    for kind, plugins in found.items():
        print(f"{kind}:" if not options.kind else "", end="" if options.kind else "\n")
        width = max((len(plugin["name"]) for plugin in plugins), default=0)
        for plugin in plugins:
            print(f"  {plugin['name']:<{width}}  {_headline(kind, plugin)}")


def _describe(kind: str, name: str) -> dict[str, Any]:
    return {"name": name, **registry.info(kind, name).model_dump(mode="json", exclude={"bibtex"})}


def _parameters(kind: str, name: str) -> dict[str, Any]:
    """Name → JSON schema of each parameter."""
    return registry.params_model(kind, name).model_json_schema().get("properties", {})


def _is_here(raw: str, cache: Path) -> bool:
    """Whether the cache has raw files of a data set; they are checked when they are used."""
    files = (cache / "datasets" / raw).glob("*")
    return not raw or any(file.suffix != ".part" for file in files)


def _headline(kind: str, plugin: dict[str, Any]) -> str:
    if kind == "datasets":
        splits = ", ".join(plugin["splits"])
        modalities = ", ".join(plugin["modalities"])
        size = f"{modalities}; {plugin['items']}; {plugin['classes']}"
        here = "here" if plugin["here"] else "not here"
        return f"{plugin['title']}: {size}; splits {splits}; {plugin['licence']}; {plugin['source']} ({here})"
    if kind == "extractors":
        return f"{plugin['title']} ({plugin['modality']}, {plugin['kind']})"
    if kind == "methods":
        marks = [plugin["implementation"], "labels" if plugin["labels"] else "unsupervised"]
        marks += ["transductive"] if plugin["transductive"] else []
        return f"{plugin['title']} ({', '.join(marks)}){': ' + plugin['reason'] if plugin['reason'] else ''}"
    return plugin["title"]


def examine(options: argparse.Namespace) -> None:
    """One finding a row: what, whether it is there, and what to do where it is not."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # look, do not download
    from cmr import config
    from cmr.create import extractor
    from cmr.device import resolve

    configuration = config.load(options.config)
    machine = machine_settings([options.config])
    findings = [_finding("configuration", True, options.config)]
    for entry in configuration.features:
        try:
            weights = extractor(entry.model_dump(mode="json"), replace(machine, device="cpu")).fetch()
        except UserError as error:
            findings.append(_finding(f"weights of {entry.id}", False, str(error)))
            continue
        if weights:
            findings.append(_finding(f"weights of {entry.id}", True, f"{weights['name']} ({weights['source']})"))
    device = resolve("auto")
    without = "none found; methods run on the CPU (device: auto)"
    findings.append(_finding("GPU", device == "cuda", device if device == "cuda" else without))
    sbatch = shutil.which("sbatch")
    findings.append(_finding("sbatch", bool(sbatch), sbatch or "not found; only needed for --profile slurm"))
    if options.json:
        _print_json(findings)
        return
    for finding in findings:
        print(f"{'ok     ' if finding['there'] else 'missing'}  {finding['what']}: {finding['text']}")


def _finding(what: str, there: bool, text: str) -> dict[str, Any]:
    return {"what": what, "there": there, "text": text}


def check_data(options: argparse.Namespace) -> None:
    """Status 1 where a run would stop, so that a script can ask."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # look, do not download
    from cmr import config
    from cmr.check import ERROR, check

    files = [
        file
        for file in dict.fromkeys(["config.yaml", *options.configs])
        if Path(file).exists() or file in options.configs
    ]
    configuration = config.validate(config.extended(files), ", ".join(files))
    findings = check(configuration, machine_settings(files))
    if options.json:
        _print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.kind:<8} {finding.what}: {finding.text}")
    sys.exit(1 if any(finding.kind == ERROR for finding in findings) else 0)


def summarise(options: argparse.Namespace) -> None:
    from cmr.reporting.collect import load
    from cmr.reporting.summary import table

    found = load(options.results)
    if options.json:
        _print_json(found.rows())
    else:
        print(table(found.united_rows()))
    for note in found.notes:
        print(note, file=sys.stderr)


def measure_files(options: argparse.Namespace) -> None:
    from cmr.datasets.labels import LabelReader
    from cmr.measure import metrics_of_files, recall_of_files

    if options.owner:
        _print_json(recall_of_files(options.a, options.b, options.owner))
    else:
        reader = LabelReader(options.separator, options.no_label)
        _print_json(metrics_of_files(options.a, options.b, options.labels, options.at, reader=reader))


def build_report(options: argparse.Namespace) -> None:
    from cmr.reporting.page import build

    print(build(Path(options.results), options.out, None, options.title))


def search_run(options: argparse.Namespace) -> None:
    """Checks the query before anything slow is imported."""
    if (options.text is None) == (options.image is None):
        raise UserError("give either --text or --image")
    if options.text is not None and not options.text.strip():
        raise UserError("--text is empty")
    from cmr import search

    machine = machine_settings(options.config)
    run = search.find(options.folder, machine.folders)
    modality, query = (search.TEXT, options.text) if options.image is None else (search.IMAGE, options.image)
    answers = search.search(run, modality, query, options.k, machine)
    print(search.table(answers))
    if options.html:
        search.write_page(options.html, run, query, answers, machine)


def make_again(options: argparse.Namespace) -> None:
    """Status 1 where a figure differs, so that a script can ask."""
    from cmr.rerun import described, rerun
    from cmr.search import find

    machine = machine_settings(options.config)
    comparison = rerun(find(options.folder, machine.folders), options.directory, machine)
    print(described(comparison))
    sys.exit(1 if comparison.differing else 0)


def machine_settings(config_files: Sequence[str]) -> "Machine":
    """What the configuration says of this machine, whatever else is wrong in it; later files take precedence."""
    from cmr.boundary import files_named_by, trusted_by
    from cmr.config import Config, data_base, read
    from cmr.machine import Machine

    files = [file for file in config_files if Path(file).exists()]
    merged: dict[str, Any] = {}
    for file in files:
        merged |= read(file)
    settings = {key: merged.get(key, Config.model_fields[key].default) for key in ("cache", "device", "data_root")}
    for key, value in settings.items():
        if not isinstance(value, str | None):
            raise UserError(f"{', '.join(files)}: {key}: expected a string, found {value!r}")
    return Machine(
        **settings,
        base=data_base(files),
        trusted=trusted_by(merged),
        named=files_named_by(merged),
        configured=bool(files),
    )


def verify_results(options: argparse.Namespace) -> None:
    """Status 1 where anything is found, so that a script can ask."""
    from cmr.sharing import verify

    runs, findings = verify(options.results, machine_settings(options.config))
    if options.json:
        _print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.kind:<8} {finding.path}: {finding.reason}")
        print(f"{runs} runs checked: {f'{len(findings)} findings' if findings else 'all are as their records say'}")
    sys.exit(1 if findings else 0)


def accept_results(options: argparse.Namespace) -> None:
    """Status 1 where a run came out another way, so that a script can ask."""
    from cmr.accept import accept, described

    outcome = accept(machine_settings(options.config), options.directory, options.sample)
    print(described(outcome))
    sys.exit(0 if all(outcome.compared.values()) else 1)


def prune_results(options: argparse.Namespace) -> None:
    from cmr.sharing import prune

    pruned = prune(options.results, options.config, options.yes, machine_settings(options.config).folders)
    found = pruned.found
    if options.json:
        _print_json([{"path": str(item.path), "bytes": item.size} for item in found])
        return
    for item in found:
        print(f"{item.size / 1e6:10.1f} MB  {item.path}")
    print(f"kept: what is needed for {', '.join(pruned.kept_for) or 'nothing'}")
    done = "removed" if options.yes else "no experiment refers to; --yes removes it"
    print(f"{sum(item.size for item in found) / 1e6:10.1f} MB  {done if found else 'nothing to remove'}")


def _print_json(value: Any) -> None:
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    print(json.dumps(value, indent=1, ensure_ascii=ascii_only))
