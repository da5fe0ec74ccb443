"""A folder of pictures with files beside them, and the same in shards: what is an item, a class, a part, a mistake."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from cmr import registry
from cmr.content import Hashes, read_list
from cmr.data import Split
from cmr.datasets.folder import Folder
from cmr.errors import UserError
from toy_plan import Project, experiment


def picture(number: int) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (3, 2), (number % 256, 5, 7)).save(written, "PNG")
    return written.getvalue()


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def shard(path: Path, files: dict[str, str | bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member, data = tarfile.TarInfo(name), content if isinstance(content, bytes) else content.encode()
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def dataset(base: Path, **params) -> Folder:
    made = Folder(registry.params("datasets", "folder", {"folder": "p", **params}), base / "out", base, base=base)
    made.folder.mkdir(exist_ok=True)
    return made


def rows(items):
    columns = ("id", "image", "text", "group", "labels")
    found = (dict(zip(columns, row, strict=True)) for row in zip(*(items.table[c] for c in columns), strict=True))
    return [(r["id"], r["image"] if isinstance(r["image"], str) else None, r["text"], r["group"], list(r["labels"]))
            for r in found]  # fmt: skip


def test_lines_and_lists_are_captions_and_folders_are_classes(tmp_path):
    write(tmp_path / "p", {
        "cat/a.png": picture(1), "cat/a.txt": "One.\n\nTwo.\r\nOne.\n", "cat/a.json": '{"caption": "Not this."}',
        "dog/b.JPG": picture(2), "dog/b.json": json.dumps({"caption": ["Three.", "Four."], "size": 3}),
        "dog/c.png": picture(3), "dog/c.json": '{"caption": "Five."}',
        "README.txt": "About.", ".hidden/x.png": picture(4), "dog/.x.png": picture(4),
    })  # fmt: skip
    made = dataset(tmp_path)
    items = made.prepare()
    assert rows(items) == [
        ("cat/a", "cat/a.png", "One.", "cat/a", ["cat"]),
        ("cat/a-2", None, "Two.", "cat/a", ["cat"]),
        ("dog/b", "dog/b.JPG", "Three.", "dog/b", ["dog"]),
        ("dog/b-2", None, "Four.", "dog/b", ["dog"]),
        ("dog/c", "dog/c.png", "Five.", "dog/c", ["dog"]),
    ]
    assert [path.read_bytes() for path in made.contents(items, "image")] == [picture(n) for n in (1, 2, 3)]
    items.check("here")


def test_a_picture_that_is_named_as_a_caption_of_another_is_told_with_it(tmp_path):
    write(tmp_path / "p", {
        "0.png": picture(1), "0.txt": "One.\nTwo.", "0-2.png": picture(2), "0-2.txt": "Three.", "1.png": picture(3), "1.txt": "Four.",
    })  # fmt: skip
    with pytest.raises(UserError, match=r"p/0-2\.png and .*p/0\.png: both have an item '0-2', .*; rename one"):
        dataset(tmp_path).prepare()


def test_texts_without_a_picture_are_told(tmp_path, caplog):
    write(tmp_path / "p", {
        "cat/97.png": picture(1), "cat/97.txt": "One.", "cat/97.url": "http://x",
        "cat/98.heic": b"", "cat/98.txt": "Two.", "cat/99.txt": "Three.", "NOTES.md": "About.",
    })  # fmt: skip
    assert len(dataset(tmp_path).prepare().table) == 1
    assert "p: 2 files are left out, as no picture of a form that is read" in caplog.text
    assert "the first: " + str(tmp_path / "p/cat/98.txt") in caplog.text
    shard(tmp_path / "q/0.tar", {"1.png": picture(1), "1.txt": "One.", "2.txt": "Two."})
    write(tmp_path / "q", {"0_stats.json": "{}"})
    dataset(tmp_path, folder="q").prepare()
    assert "q: 1 files are left out" in caplog.text


def test_a_caption_may_have_a_separator_of_lines_inside(tmp_path):
    write(tmp_path / "p", {"a.jfif": picture(1), "a.txt": "One\u2028two\rThree"})
    assert [row[2] for row in rows(dataset(tmp_path).prepare())] == ["One\u2028two", "Three"]


def test_linked_folders_are_entered_and_counted(tmp_path):
    write(tmp_path / "elsewhere", {"a.png": picture(1), "a.txt": "One."})
    (tmp_path / "p").mkdir()
    (tmp_path / "p/cat").symlink_to(tmp_path / "elsewhere")
    assert [row[0] for row in rows(dataset(tmp_path).prepare())] == ["cat/a"]
    before = Hashes(tmp_path / "cache").of(tmp_path / "p")
    write(tmp_path / "elsewhere", {"a.txt": "Another."})
    assert Hashes(tmp_path / "cache").of(tmp_path / "p") != before


def test_a_link_to_a_folder_above_is_refused(tmp_path):
    write(tmp_path / "p", {"cat/a.png": picture(1), "cat/a.txt": "One."})
    (tmp_path / "p/cat/up").symlink_to("..")
    Hashes(tmp_path / "cache").of(tmp_path / "p")
    with pytest.raises(UserError, match=r"cat/up: a link to a folder that it lies in"):
        dataset(tmp_path).prepare()


def many(count: int, place: str = "{label}/{n}") -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {}
    for n in range(count):
        stem = place.format(label="xy"[n % 2], n=f"{n:03}", part=("train", "val", "test")[n % 3])
        files |= {f"{stem}.png": picture(n), f"{stem}.txt": f"Text {n}.\nAlso {n}."}
    return files


def test_without_classes_there_are_none_and_groups_stay_together(tmp_path):
    write(tmp_path / "p", many(20, "{n}"))
    made = dataset(tmp_path)
    items = made.prepare()
    assert not items.has_classes
    parts = made.split(items, "default").table.set_index("id")["part"].reindex(items.ids)
    assert parts.value_counts().to_dict() == {"train": 24, "validation": 8, "test": 8}
    assert (parts.groupby(items.groups).nunique() == 1).all()


def test_a_rare_class_is_told_with_a_remedy_that_the_folder_has(tmp_path):
    write(tmp_path / "p", many(20) | {"z/0.png": picture(99), "z/0.txt": "Z."})
    made = dataset(tmp_path)
    with pytest.raises(UserError, match=r"class 'z' has only 1 distinct item: .*; remove or merge such classes$"):
        made.split(made.prepare(), "default")


@pytest.mark.parametrize("place", ["{part}/{label}/{n}", "{part}/{n}"])
def test_folders_that_are_named_as_parts_are_the_split(tmp_path, place):
    write(tmp_path / "p", many(12, place))
    made = dataset(tmp_path)
    items = made.prepare()
    wanted = {"train": "train", "val": "validation", "test": "test"}
    assert made.parts(items, "default").tolist() == [wanted[item.split("/")[0]] for item in items.ids]
    assert [list(own) for own in items.table["labels"]] == [
        [item.split("/")[1]] if "label" in place else [] for item in items.ids
    ]


def test_parts_need_training_and_test_pictures(tmp_path):
    write(tmp_path / "p", {"train/a.png": picture(1), "train/a.txt": "A.", "val/b.png": picture(2), "val/b.txt": "B."})
    with pytest.raises(UserError, match=r"its folders are parts, train, val, without test"):
        dataset(tmp_path).prepare()


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        (["train/x/0", "test/x/1", "trian/x/2", "trian/y/3"], "'trian'"),
        (["train/0", "test/1", "extra/2"], "'extra'"),
        (["train/x/0", "tset/x/1"], "'tset'"),
        (["train/0", "test/1", "2"], "pictures in no folder"),
    ],
)
def test_folders_beside_parts_are_named(tmp_path, names, odd):
    write(tmp_path / "p", {f"{name}{end}": b"A." for name in names for end in (".png", ".txt")})
    with pytest.raises(UserError, match=rf"beside .*train, which are names of parts, there is {odd}; name the split's"):
        dataset(tmp_path).prepare()


def test_a_class_may_be_called_train(tmp_path, caplog):
    write(tmp_path / "p", {f"{name}{end}": b"A." for name in ("bus/0", "train/1") for end in (".png", ".txt")})
    assert dataset(tmp_path).prepare().classes == ["bus", "train"]
    assert "'train' is read as a class, not as a part, since beside it there is 'bus'" in caplog.text


def test_a_key_of_the_json_or_a_cls_file_is_the_class(tmp_path):
    write(tmp_path / "p", {
        "x/a.png": picture(1), "x/a.json": '{"text": "A.", "tags": ["t", "u"]}',
        "x/b.png": picture(2), "x/b.json": '{"text": "B.", "tags": "none"}',
        "x/c.png": picture(3), "x/c.json": '{"text": "C."}', "x/c.cls": "7\n",
    })  # fmt: skip
    items = dataset(tmp_path, caption="text", label="tags").prepare()
    assert [list(own) for own in items.table["labels"]] == [["t", "u"], ["none"], ["7"]]


@pytest.mark.parametrize(
    ("beside", "known"),
    [
        ({".json": '{"caption": "A.", "tags": "x"}'}, r"; did you mean 'tags'\?"),
        ({".json": '{"caption": "A.", "class": "x"}'}, "; known: caption, class"),
        ({".txt": "A."}, r"; no picture has a \.json"),
    ],
)
def test_a_key_that_no_json_has_is_told_with_those_that_are_there(tmp_path, beside, known):
    write(tmp_path / "p", {"x/0.png": picture(0), **{f"x/0{end}": text for end, text in beside.items()}})
    with pytest.raises(UserError, match=rf"params\.label: no picture's \.json has the key 'tag'{known}"):
        dataset(tmp_path, label="tag").prepare()


@pytest.mark.parametrize("values", [['"x"', "null"], ["null", "null"]])
def test_with_a_key_each_picture_needs_a_label(tmp_path, values):
    write(tmp_path / "p", {f"x/{n}.png": picture(n) for n in range(2)})
    write(tmp_path / "p", {f"x/{n}.json": f'{{"caption": "A.", "tags": {value}}}' for n, value in enumerate(values)})
    with pytest.raises(UserError, match=r"\.png: no class.*; give it the key 'tags' in a \.json beside it, or a \.cls"):
        dataset(tmp_path, label="tags").prepare()


def test_that_there_are_no_labels_is_told_with_the_keys(tmp_path, caplog):
    write(tmp_path / "p", {"0.png": picture(0), "0.json": '{"caption": "A.", "label": "x"}'})
    assert not dataset(tmp_path).prepare().has_classes
    assert "no labels: there will be figures by instance alone" in caplog.text
    assert "such as one of caption, label" in caplog.text


def shards(base: Path, first: str = "One.") -> None:
    shard(base / "p/train/0000.tar", {
        "000.png": picture(0), "000.txt": first, "000.cls": "1", "001.cls": "2", "001.png": picture(1),
        "001.json": '{"caption": ["Two.", "Three."]}',
    })  # fmt: skip
    shard(base / "p/test/0000.tar", {"000.png": picture(2), "000.txt": "Four.", "000.cls": "1", "000.url": "http://x"})


def test_shards_are_unpacked_once_and_again_when_they_change(tmp_path):
    shards(tmp_path)
    made = dataset(tmp_path)
    items = made.prepare()
    assert [(i, t, g, own) for i, _, t, g, own in rows(items)] == [
        ("test/0000/000", "Four.", "test/0000/000", ["1"]),
        ("train/0000/000", "One.", "train/0000/000", ["1"]),
        ("train/0000/001", "Two.", "train/0000/001", ["2"]),
        ("train/0000/001-2", "Three.", "train/0000/001", ["2"]),
    ]
    assert made.parts(items, "default").tolist() == ["test", "train", "train", "train"]
    files = made.contents(items, "image")
    assert [file.read_bytes() for file in files] == [picture(n) for n in (2, 0, 1)]
    before = files[0].stat().st_mtime_ns
    dataset(tmp_path).prepare()
    assert files[0].stat().st_mtime_ns == before
    shards(tmp_path, "Other.")
    assert dataset(tmp_path).prepare().table["text"].tolist() == ["Four.", "Other.", "Two.", "Three."]


def test_without_cls_shards_have_no_classes(tmp_path):
    shard(tmp_path / "p/0000.tar", {"a/0.png": picture(0), "a/0.txt": "One."})
    assert not dataset(tmp_path).prepare().has_classes


@pytest.mark.parametrize(
    ("files", "params", "problem"),
    [
        ({}, {}, r"p: no pictures; expected .*\.png.*, or \.tar shards"),
        (
            {"a.png": b"", "a.cls": "x"},
            {},
            r"a\.png: no caption; expected a \.txt or, with the key 'caption', a \.json",
        ),
        ({"a.png": b"", "a.txt": " \n\n"}, {}, r"a\.png: no caption"),
        ({"a.png": b"", "a.json": '{"captions": "A."}'}, {}, r"a\.png: no caption; .*'caption'"),
        ({"a.png": b"", "a.json": "{"}, {}, r"a\.json: not JSON"),
        (
            {"a.png": b"", "a.json": '{"caption": "A.", "caption": "B."}'},
            {},
            r"a\.json: not JSON: the key 'caption' stands",
        ),
        ({"a.png": b"", "a.json": "[1]"}, {}, r"a\.json: expected an object"),
        ({"a.png": b"", "a.json": '{"caption": {"en": "A."}}'}, {}, r"a\.json: caption: expected a text or a list"),
        ({"a.png": b"", "a.txt": b"caf\xe9"}, {}, r"a\.txt: line 1: not UTF-8"),
        ({"a.png": b"", "a.jpg": b"", "a.txt": "A."}, {}, r"a\.jpg: a\.png has the same name"),
        ({"c/a.png": b"", "c/a.txt": "A.", "b.png": b"", "b.txt": "B."}, {}, r"b\.png: no class, though other"),
        ({"a.png": b"", "a.txt": "A.", "0.tar": b""}, {}, r"a\.png: a picture beside shards"),
        ({"0.tar": b"not an archive"}, {}, r"0\.tar: damaged or not an archive"),
        ({"a.png": b""}, {"folder": "q"}, r"params\.folder: no such folder: .*q"),
        ({"a.png": b""}, {"folder": ""}, r"params\.folder: required, but missing; name a folder"),
        ({"a.png": b""}, {"folder": "/tmp"}, r"params\.folder: /tmp is absolute"),
    ],
)
def test_mistakes_are_one_line(tmp_path, files, params, problem):
    (tmp_path / "p").mkdir()
    write(tmp_path / "p", files)
    with pytest.raises(UserError, match=problem) as raised:
        dataset(tmp_path, **params).prepare()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["../out.png", "/abs.png", "link.png"])
def test_members_that_leave_the_folder_are_refused(tmp_path, name):
    path = tmp_path / "p/0.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        if name == "link.png":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    if name == "/abs.png":  # tar strips the slash, as the standard library's filter does: nothing lands outside
        with pytest.raises(UserError, match="no caption"):
            dataset(tmp_path).prepare()
        assert not Path("/abs.png").exists()
        return
    with pytest.raises(UserError, match=r"0\.tar: refused"):
        dataset(tmp_path).prepare()


@pytest.mark.parametrize("in_shards", [False, True])
def test_stages_take_a_folder_and_see_that_it_changes(tmp_path, in_shards):
    """All its files count, those that are no pictures too."""

    def written(last: str) -> None:
        files = many(12) | {"y/011.txt": last}
        shard(tmp_path / "p/0.tar", files) if in_shards else write(tmp_path / "p", files)

    written("Text 11.")
    entry = {"id": "made", "dataset": "folder", "params": {"folder": "p"}}
    features = [{"id": "sift", "modality": "image", "extractor": "sift_bovw"}, {"id": "bow", "extractor": "bow"}]
    data = {"datasets": [entry], "features": features, "metrics": ["recall_at_k"]}
    project = Project(tmp_path, data | experiment(["sift", "bow"], "cca"))
    split = project.make(project.only("split"))
    assert len(Split.read(project.path(split.files[0])).table) == 23
    prepared = project.only("prepare")
    before = project.record(prepared)
    assert set(before["own_files"]) == {"p"}
    assert len(list(read_list(project.path(prepared.files[1])))) == 12
    written("Another.")
    project.make(prepared, again=True)
    assert project.record(prepared)["own_files"] != before["own_files"]
