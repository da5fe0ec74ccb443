"""What memory and time the jobs of a plan ask for."""

import re

import pytest

from toy_clones import CONFIG, DLA


def asked(output):
    """(MB, minutes) by rule and method or dictionary, as a dry run says them."""
    found = {}
    for text in re.split(r"^ *(?=rule \w+:$)", output, flags=re.MULTILINE)[1:]:
        rule = re.match(r"rule (\w+)", text)[1]
        named = re.search(r"(?:method|dictionary)=([^-,\s]+)", text)
        numbers = [re.search(rf"\b{key}=(\S+?)(?:,|$)", text, re.MULTILINE) for key in ("mem_mb", "runtime")]
        if named and all(numbers):
            found[rule, named[1]] = tuple(number[1] for number in numbers)
    return found


@pytest.mark.slow
def test_jobs_ask_for_every_candidate_and_all_atoms_and_before_their_input_is_there(fresh):
    methods = [{"id": "cca", "tune": {"components": [1, 2], "regularisation": [0.1, 1, 10]}}, "ridge_label", DLA]
    dictionaries = [{"id": "small", "dictionary": "coupled", "params": {"atoms": [40_000, 60_000]}}]
    experiments = [{**CONFIG["experiments"][0], "methods": methods}]
    fresh.configure(device="cpu", dictionaries=dictionaries, experiments=experiments)
    fresh.snakemake("features")
    found = {key: tuple(map(int, value)) for key, value in asked(fresh.snakemake("-n", "metrics")).items()}
    minutes = {key: minutes for key, (_, minutes) in found.items()}
    assert minutes["fit", "cca"] == 13  # 2 and 0.2 for a MB, six times
    assert minutes["fit", "ridge_label"] == 3
    assert minutes["fit", "dla"] == 16
    assert minutes["evaluate", "cca"] == minutes["evaluate", "dla"] == 3
    assert found["fit", "cca"][0] == found["evaluate", "cca"][0] == 2501
    rows = sum(1 for _ in (fresh.root / "results/data/toy/splits/default.csv").open()) - 1
    assert found["encode", "small"][0] == pytest.approx(1500 + 100_000 * 8 * rows / 1e6, abs=2)
