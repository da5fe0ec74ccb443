"""Texts, labels, ids and file names with markup show as text, in the report and in the page of `cmr search --html`."""

import json
from collections import Counter
from html.parser import HTMLParser

import pandas as pd
import pytest
from jinja2 import Template
from PIL import Image

from cmr import search
from cmr.data import Items
from cmr.machine import Machine
from cmr.reporting import page, tables
from cmr.reporting.collect import load
from cmr.reporting.runs import Run
from reporting_tree import write_tree

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><svg onload=alert(1)>",
    "</script><script>alert(1)//",
    "<!--<script>",
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; &amp;amp;",
    "javascript:alert(1)",
    "\u2028\u2029\x00\x07",
]


class Seen(HTMLParser):
    """The tags, the attributes of events and of addresses, and the text of a page."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.tags, self.events, self.addresses, self.text, self.values = Counter(), [], [], [], []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.events += [name for name, _ in attributes if name.startswith("on")]
        self.addresses += [value for name, value in attributes if name in ("href", "src", "action")]
        self.values += [value for _, value in attributes]

    def handle_data(self, data):
        self.text.append(data)


def searched(folder, words):
    """The page of `cmr search` whose query, items, labels and ids are all ``words``, and its picture."""
    write_tree(folder / "results", n=16, seeds=1, methods=("cca",))
    (run_folder,) = (folder / "results/runs").rglob("cca/0")
    run = Run(folder / "results", str(run_folder.relative_to(folder / "results")), "")
    file = folder / "results/data/shapes" / f"{words.replace('/', '∕')[:40].strip(chr(0))}.png"
    Image.new("RGB", (8, 8)).save(str(file).replace("\0", ""))
    hits = (search.Hit(1, 0.5, words, (words, words), words),)
    pictures = (search.Hit(1, 0.5, words, (words,), str(file.name).replace("\0", "")),)
    answers = [search.Answer("text", "text", 1, hits), search.Answer("image", "image", 1, pictures)]
    machine = Machine(cache=str(folder), base=str(folder))
    record = json.loads((run_folder / "run.json").read_text())
    record["fits"][0]["data"]["dataset"] = "wikipedia"
    (run_folder / "run.json").write_text(json.dumps(record))
    search.write_page(folder / "page.html", run, words, answers, search.pictures(run, machine), machine.folders)
    return Seen((folder / "page.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("harmless"), "plain words")


@pytest.mark.parametrize("words", EVIL)
def test_the_page_of_a_search(tmp_path, harmless, words):
    found = searched(tmp_path, words)
    assert found.tags == harmless.tags
    assert found.events == []
    assert {address.partition(":")[0] for address in found.addresses} <= {"data"}
    assert words.replace("\0", "\ufffd").split()[0].strip("\ufffd") in "".join(found.text).replace("\0", "\ufffd")


def evil_tree(folder, words):
    """A results tree whose classes and texts are markup."""
    results = write_tree(folder / "results", n=16, seeds=1, methods=("cca",))
    file = results / "data/shapes/items.parquet"
    items = Items.read(file)
    items.table["text"] = [f"{words[row % len(words)]} {row}" for row in range(len(items.table))]
    names = dict(zip(items.classes, words, strict=False))
    items.table["labels"] = [[names[label] for label in labels] for labels in items.table["labels"]]
    items.write(file)
    for metrics in results.rglob("metrics*.json"):
        text = json.loads(metrics.read_text())
        for task in text["tasks"]:
            for entry in task["metrics"].values():
                if "per_class" in entry:
                    entry["per_class"] = {names[key]: value for key, value in entry["per_class"].items()}
        metrics.write_text(json.dumps(text))
    return results


@pytest.mark.long
def test_the_report(tmp_path):
    plain = [f"plain {number}" for number in range(len(EVIL))]
    seen, title = {}, {}
    for name, words in (("evil", [word.replace("\0", "") for word in EVIL]), ("plain", plain)):
        title[name] = words[1]
        made = page.build(evil_tree(tmp_path / name, words), tmp_path / name / "page", None, title[name])
        seen[name] = Seen(made.read_text("utf-8"))
    assert seen["evil"].tags == seen["plain"].tags
    assert seen["evil"].events == seen["plain"].events == []
    outside = [a for a in seen["evil"].addresses if a not in seen["plain"].addresses and not a.startswith("data:")]
    assert not [address for address in outside if ":" in address]
    assert title["evil"] in "".join(seen["evil"].text)
    svg = "".join(path.read_text("utf-8") for path in (tmp_path / "evil/page/figures").glob("*.svg"))
    assert "<script" not in svg
    assert "onerror=alert" not in svg.replace("&quot;", '"') or "<img" not in svg
    assert load(tmp_path / "evil/results").runs


@pytest.mark.parametrize("words", EVIL)
def test_the_reports_templates_and_tables(words):
    environment = page.environment()
    shown = Seen(
        environment.from_string('<p title="{{ w }}">{{ w }}</p><script>{{ w | tojson }}</script>').render(w=words)
    )
    assert shown.tags == {"p": 1, "script": 1}
    assert shown.events == []
    assert Template("{{ w }}", autoescape=True).render(w=words) == environment.from_string("{{ w }}").render(w=words)
    latex = pd.DataFrame({"a": [tables.escaped(words)]}).to_latex(escape=False)
    assert "\\input" not in latex
    assert not {"&", "%", "#", "_"} & set(
        tables.escaped(words).replace("\\&", "").replace("\\%", "").replace("\\#", "").replace("\\_", "")
    )
