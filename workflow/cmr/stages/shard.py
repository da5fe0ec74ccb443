"""The features of some rows of a large data set, by an extractor that has learned what it learns."""

from dataclasses import asdict

from cmr import create
from cmr.features.extraction import extract_shard
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording
from cmr.stages.extract import Contents, key_of, learned_states


def make(result: Result, machine: Machine) -> None:
    """The file is unfinished work of the features: what it holds already counts where the contents are the same."""
    (output,), entry = result.files, result.settings["feature"]
    with recording(result, machine) as made:
        contents = Contents.of(result, machine, made, slice(*result.settings["rows"]))
        states = learned_states(result)
        tasks = {group: contents.task(create.extractor(entry, machine), None) for group in states}
        for group, task in tasks.items():
            if result.sources("learn"):
                task.extractor.load_state(states[group])
        resolved, gaps = extract_shard(tasks, output, key_of(result, made))
        made.facts = {"resolved": resolved, "gaps": {name: asdict(gap) for name, gap in gaps.items()}}
        made.facts["device"] = tasks["/"].extractor.device
