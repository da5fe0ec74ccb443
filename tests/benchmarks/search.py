"""Time to look one new query up in a run, from the saved files to the ranking.

    python tests/benchmarks/search.py RUN QUERY

RUN is the folder of a run; QUERY a text, or the name of a picture file. Prints a JSON line: seconds of the imports
(torch, transformers and the run's plug-ins), of the first answer after them (weights, model and embeddings are read
from disk) and of a second one; items ranked; the machine's load.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

from cmr import registry, settings

MODEL_CODE = {"bert": "transformers.models.bert.modeling_bert"}  # transformers imports it when a model is loaded


def main() -> None:
    folder, query = Path(sys.argv[1]), sys.argv[2]
    seconds = {}
    start = time.perf_counter()
    from cmr import search

    run = search.find(folder)
    for fit in run.fits:
        registry.load("methods", fit["method"]["method"])
        for feature in fit["features"]:
            registry.load("extractors", feature["extractor"])
            if feature["extractor"] in MODEL_CODE:
                importlib.import_module(MODEL_CODE[feature["extractor"]])
        if fit["dictionary"]:
            registry.load("dictionaries", fit["dictionary"]["dictionary"])
    seconds["imports"] = time.perf_counter() - start
    modality, content = (search.IMAGE, Path(query)) if Path(query).is_file() else (search.TEXT, query)
    for name in ("first", "second"):
        start = time.perf_counter()
        answers = search.search(run, modality, content, 10, settings.machine([]))
        seconds[name] = time.perf_counter() - start
    rounded = {name: round(value, 3) for name, value in seconds.items()}
    print(json.dumps(rounded | {"items": sum(a.size for a in answers), "load": round(os.getloadavg()[0], 2)}))


if __name__ == "__main__":
    main()
