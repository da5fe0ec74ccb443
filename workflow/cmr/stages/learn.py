"""What a fitted extractor learns from the training rows, once for all shards of a large data set."""

from cmr import create, store
from cmr.features.extraction import learn
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording
from cmr.stages.extract import Contents, trainings_of


def make(result: Result, machine: Machine) -> None:
    (output,), entry = result.files, result.settings["feature"]
    with recording(result, machine) as made:
        contents = Contents.of(result, machine, made)
        states = {
            group: learn(contents.task(create.extractor(entry, machine), ids), output)
            for group, ids in trainings_of(result).items()
        }
        with store.new_hdf5(output) as file:
            for group, state in states.items():
                store.write_state(file.require_group(group), state)
