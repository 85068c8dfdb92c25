"""What comes out of data/ is what was written, in every format, or a DataError that says where and what to do."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sparsedistill.data import files, labelled, labels, records
from sparsedistill.encoding import encoding_of
from sparsedistill.errors import DataError, SettingsError
from sparsedistill.options import Data

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).resolve().parent.parent
RECORDS = [
    ("good film", "pos"),
    ("", "neg"),
    ('she said "no", twice,\nand "yes"\tonce', "pos"),
    ("Größe 🙂 日本語 \u2028 \x85 \x0b end", "neg"),
    (" spaces \r\n inside ", "pos"),
]
TEXTS = [text for text, _ in RECORDS]
NAMES = [name for _, name in RECORDS]
CLASSES = Data(label="label")


def table(records=RECORDS, kind=None):
    return pa.table({
        "text": pa.array([text for text, _ in records], kind or pa.string()),
        "label": pa.array([name for _, name in records], pa.string()),
        "id": pa.array(range(len(records)), pa.int64()),
    })  # fmt: skip


def write_csv(file, records, delimiter=","):
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "text", "label"])
    writer.writerows([i, text, name] for i, (text, name) in enumerate(records))


def as_bytes(suffix: str, records) -> bytes:
    """``records`` in the text format of ``suffix``."""
    out = io.StringIO(newline="")
    if suffix in (".csv", ".tsv"):
        write_csv(out, records, "," if suffix == ".csv" else "\t")
    elif suffix == ".jsonl":
        for i, (text, name) in enumerate(records):
            out.write(json.dumps({"id": i, "text": text, "label": name}, ensure_ascii=i % 2 == 0) + "\n")
    elif suffix == ".ft":
        out.writelines(f"__label__{name} {text}\n" for text, name in records)
    else:
        out.writelines(f"{text}\n" for text, _ in records)
    return out.getvalue().encode()


def put(path: Path, data: bytes | str) -> str:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def write(path: Path, records=RECORDS) -> str:
    """``records`` in the format that ``path`` names."""
    if path.suffix == ".parquet":
        parquet.write_table(table(records), path, row_group_size=2)
    elif path.suffix == ".feather":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table(records).schema) as writer:
            writer.write_table(table(records), max_chunksize=2)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table(records).schema) as writer:
            writer.write_table(table(records), max_chunksize=2)
    elif path.suffix == ".gz":
        put(path, gzip.compress(as_bytes(Path(path.stem).suffix, records)))
    elif path.suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        data = as_bytes(Path(path.stem).suffix, records)
        cut = len(data) // 2  # two frames: what parallel compressors write
        put(path, zstandard.compress(data[:cut]) + zstandard.compress(data[cut:]))
    else:
        put(path, as_bytes(path.suffix, records))
    return str(path)


def texts(*sources, **options):
    return [text for batch in records.Reader(sources, **options) for text in batch.texts]


def column(name, *sources, **options):
    return [v for batch in records.Reader(sources, columns=[name], **options) for v in batch.named(name)]


def rows(*sources, **options):
    return [row for batch in records.Reader(sources, **options) for row in batch.rows]


def whole_texts(source, **options):
    pieces = list(records.stream(source, **options))
    assert len(pieces[0].rows) == 0 and all(len(piece.rows) == len(piece.texts) > 0 for piece in pieces[1:])
    return [
        text for piece in pieces for text in (piece.texts if isinstance(piece.texts, list) else piece.texts.to_pylist())
    ]


QUOTED = files.Form(quoting="double")  # the fields of TSV stand in quotes only where that is asked for
TABLES = [".parquet", ".feather", ".arrow", ".csv", ".tsv", ".jsonl", ".csv.gz", ".jsonl.zst", ".tsv.zst"]
LINES = [".txt", ".txt.gz", ".txt.zst", ".ft", ".ft.gz"]


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_tables_give_back_what_was_written(tmp_path, suffix, batch_size):
    path = write(tmp_path / f"a{suffix}")
    batches = list(records.Reader([path], columns=["label", "id"], batch_size=batch_size, form=QUOTED))
    assert [t for b in batches for t in b.texts] == TEXTS
    assert [v for b in batches for v in b.named("label")] == NAMES
    assert [int(v) for b in batches for v in b.named("id")] == list(range(len(RECORDS)))
    assert all(len(b.texts) == len(b.rows) <= batch_size and b.first_row == b.rows[0] for b in batches)
    assert {b.source for b in batches} == {path}
    pieces = list(records.stream(path, most=batch_size, form=QUOTED))
    assert [row for piece in pieces for row in piece.rows] == [row for b in batches for row in b.rows]
    assert [str(i) for piece in pieces for i in piece.values("id")] == [str(i) for i in range(len(RECORDS))]
    assert all(len(piece.rows) <= batch_size for piece in pieces)
    assert whole_texts(path, keep=["label"], form=QUOTED) == TEXTS
    assert records.count([path]) == (len(RECORDS) if suffix in (".parquet", ".feather", ".arrow") else None)
    records.Reader([path], columns=["label", "id"], form=QUOTED)


# The csv module took no zero bytes before Python 3.11.
NO_ZERO = "" if sys.version_info >= (3, 11) else "\0"
any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=NO_ZERO), max_size=30)
one_line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=30)
quiet = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("suffix", TABLES)
@quiet
@given(st.lists(st.tuples(any_text, any_text), max_size=8))
def test_any_text_survives_a_table(tmp_path, suffix, records):
    path = write(tmp_path / f"a{suffix}", records)
    assert texts(path, batch_size=3, form=QUOTED) == [text for text, _ in records]
    assert column("label", path, form=QUOTED) == [name for _, name in records]
    assert whole_texts(path, most=3, form=QUOTED) == [text for text, _ in records]


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".ft"])
@quiet
@given(st.lists(one_line.filter(lambda text: "__label__" not in text), max_size=8))
def test_any_line_survives(tmp_path, suffix, lines):
    lines = ["x", *lines]  # U+FEFF at the start of a file would be the byte order mark
    assume(not encoding_of("".join(f"{line}\n" for line in lines).encode()))  # zero bytes may look like UTF-16
    path = write(tmp_path / f"a{suffix}", [(line, "x") for line in lines])
    assert texts(path, batch_size=3) == whole_texts(path, most=3) == lines
    if suffix == ".ft":
        assert column("label", path) == [["x"]] * len(lines)


@quiet
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path, data):
    for suffix in (".txt", ".csv", ".tsv", ".jsonl", ".ft", ".parquet", ".arrow", ".txt.gz", ".txt.zst"):
        path = put(tmp_path / f"a{suffix}", data)
        for errors in ("strict", "replace"):
            for read in (texts, whole_texts):
                try:
                    found = read(path, encoding_errors=errors)
                except DataError as error:
                    assert path in str(error) and "\n" not in str(error).replace(repr(data), "")
                else:
                    "".join(filter(None, found)).encode()  # no half surrogate pairs


def test_plain_lines(tmp_path):
    path = put(tmp_path / "a.txt", "\ufeffone\r\n\n  two\x0bthree\x85\u2028four \nlast")
    assert texts(path) == ["one", "", "  two\x0bthree\x85\u2028four ", "last"]
    assert rows(path) == [1, 2, 3, 4]
    assert texts(put(tmp_path / "b.txt", '{"text": "a"}\n')) == ['{"text": "a"}']  # only stdin is looked at for JSON
    for empty in ("", "\ufeff"):
        assert texts(put(tmp_path / "c.txt", empty)) == []
    with pytest.raises(DataError, match=r"a\.txt holds plain lines and has no column 'label'; begin each line"):
        texts(path, columns=["label"])


@pytest.mark.parametrize("name", ["a.ft", "a.fasttext", "a.txt"])
def test_fasttext(tmp_path, name):
    path = put(tmp_path / name, "__label__a __label__b  two words\r\n__label__c\u00a0d x\nno label\n"
               "ends __label__e here\n__label__f\n\n")  # fmt: skip
    assert texts(path) == [" two words", "x", "no label", "ends here", ""]
    assert column("label", path) == [["a", "b"], ["c\u00a0d"], [], ["e"], ["f"]]
    assert column("kind", path, label="kind") == column("label", path)
    assert column("text", path) == texts(path)
    assert whole_texts(path) == [*texts(path), ""]  # who predicts a file gets an answer to each of its lines
    with pytest.raises(DataError, match="no column 'id'; it has 'label', 'text'"):
        texts(path, columns=["id"])


def test_csv_dialect(tmp_path):
    path = put(tmp_path / "a.csv", '\ufeff"text",n\r\n"a ""b"",\r\nc",1\r\n\r\n,2\r\nd,3')
    assert texts(path) == ['a "b",\r\nc', "", "d"] and column("n", path) == ["1", "2", "3"]
    assert rows(path) == [2, 5, 6]
    path = put(tmp_path / "B.CSV", '\ufeff"n\n,",text\n1,a\n')  # the mark must not hide the quote
    assert texts(path) == ["a"]
    assert len(texts(put(tmp_path / "b.csv", "text\n" + "x" * 300_000))[0]) == 300_000


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", "text,label\na,b\nc,d,e\n", r"a\.csv:3 has 3 fields, but the header has 2"),
        ("a.csv", 'text,label\n"x\ny",b\nc\n', r"a\.csv:4 has 1 field, but the header has 2"),
        ("a.csv", 'text,label\na,b\n"never closed,b\nc,d\n', r"a\.csv:3 is not valid CSV"),
        ("a.csv", "text,label\na\rb,c\n", r"a\.csv:2 is not valid CSV"),
        ("a.csv", "text,text,label\na,b,c\n", r"a\.csv has 2 columns 'text'; rename"),
        ("a.tsv", "text\tlabel\na\tb\tc\n", r"a\.tsv:2 has 3 fields.*tab"),
        ("a.csv", "sentence,label\na,b\n", r"a\.csv has no column 'text'; it has 'sentence', 'label': name"),
        ("a.csv", "", r"there is no text in .*a\.csv"),
        ("a.csv", "text,label\n", r"there is no text in .*a\.csv"),
        ("a.jsonl", '{"text": "a", "label": 1}\n\nnope\n', r"a\.jsonl:3 is not valid JSON \(.*one object a line"),
        ("a.jsonl", '[{"text": "a"}]\n', r"a\.jsonl:1 is JSON, but of type list, .*--input-format json"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"txt": "b"}\n', r"a\.jsonl:2 has no column 'text'; it has 'txt'"),
        ("a.jsonl", '{"text": null, "label": 1}\n', r"text \(column 'text'\) at .*a\.jsonl:1 is null"),
        ("a.jsonl", '{"text": 7, "label": 1}\n', r"\(column 'text'\) at .*a\.jsonl:1 is of type int, not a string"),
        ("a.jsonl", '{"text": "\\ud800", "label": 1}\n', r"a\.jsonl:1 has half a surrogate.*--encoding-errors replace"),
        ("a.jsonl", '{"text": "a", "label": 1}\n\u00a0\n', r"a\.jsonl:2 is not valid JSON"),
        ("a.jsonl", "[" * 100_000, r"a\.jsonl:1 is not valid JSON"),
        ("a.txt", b"\xff\xfea\0", r"a\.txt is UTF-16; convert it: iconv"),
        ("a.txt.gz", gzip.compress(b"hello\n" * 9999, mtime=0)[:-20], r"a\.txt\.gz cannot be read to its end"),
        ("a.txt.gz", b"hello", r"a\.txt\.gz cannot be read to its end"),
        ("a.txt.zst", b"hello", r"a\.txt\.zst cannot be read to its end"),
        ("a.parquet", b"hello world", r"a\.parquet cannot be read as Parquet"),
        ("a.parquet", b"", r"a\.parquet cannot be read as Parquet.*empty"),
        ("a.arrow", b"hello world", r"a\.arrow cannot be read as Arrow"),
        ("a.feather", b"ARROW1\0\0junk", r"a\.feather cannot be read as Arrow"),
        ("a.feather", b"FEA1junk", r"feather version 1 is not supported"),
        ("a.xlsx", b"PK", r"a\.xlsx has a suffix that is not known \(known: \.parquet"),
    ],
)
def test_refusals_name_place_and_way_out(tmp_path, name, content, message):
    path = put(tmp_path / name, content)
    columns = [] if ".txt" in name else ["label"]
    with pytest.raises(DataError, match=message) as caught:
        records.Reader([path], columns=columns)  # may see only the start
        for _ in records.Reader([path], columns=columns):
            pass
        labelled.labelled([path], Data())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".txt", ".ft", ".csv.gz"])
def test_invalid_utf8(tmp_path, suffix):
    data = as_bytes(suffix.removesuffix(".gz"), [("first", "a"), ("caf?", "b"), ("last", "a")]).replace(b"?", b"\xe9")
    data = data.replace(b'"', b"") if suffix == ".tsv" else data
    path = put(tmp_path / f"a{suffix}", gzip.compress(data, mtime=0) if suffix.endswith(".gz") else data)
    line = 3 if suffix[1] in "ct" and "txt" not in suffix else 2
    with pytest.raises(DataError, match=rf"a\{suffix}:{line} is not valid UTF-8; .*--encoding-errors replace"):
        texts(path)
    assert texts(path, encoding_errors="replace") == ["first", "caf\ufffd", "last"]
    with pytest.raises(DataError, match=rf"a\{suffix}:{line} is not valid UTF-8; .*--encoding-errors replace"):
        whole_texts(path)
    assert whole_texts(path, encoding_errors="replace") == ["first", "caf\ufffd", "last"]


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "binary"])
def test_invalid_utf8_in_arrow(tmp_path, kind):
    raw = pa.array([b"ok", b"caf\xe9"], pa.large_binary() if kind == "large_string" else pa.binary())
    held = pa.large_string() if kind == "large_string" else pa.string()
    array = raw if kind == "binary" else pa.Array.from_buffers(held, 2, raw.buffers())
    if kind == "dictionary":
        array = pa.DictionaryArray.from_arrays(pa.array([0, 1]), array)
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file:
        made = pa.table({"text": array})
        with pa.ipc.new_file(file, made.schema) as writer:
            writer.write_table(made)
    path = str(tmp_path / "a.arrow")
    for read in (texts, whole_texts):
        with pytest.raises(DataError, match=r"column 'text' at .*a\.arrow row 2 is not valid UTF-8"):
            read(path)
    assert texts(path, encoding_errors="replace") == ["ok", "caf\ufffd"]


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    path = put(tmp_path / "a.jsonl", '{"text": "a\\ud800b"}\n{"text": "\\ud83d\\ude42"}\n')
    assert texts(path, encoding_errors="replace") == ["a\ufffdb", "🙂"]


def test_damaged_in_the_middle(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    whole = zstandard.compress(os.urandom(200_000).hex().encode())
    path = put(tmp_path / "a.txt.zst", whole[:-1000])
    with pytest.raises(DataError, match="cut short: the last zstd frame has no end"):
        texts(path)
    parquet.write_table(table([(f"text {i * 7919}", "x") for i in range(5000)]), tmp_path / "a.parquet")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[8:600] = bytes(592)
    with pytest.raises(DataError, match=r"b\.parquet cannot be read as Parquet"):
        texts(put(tmp_path / "b.parquet", bytes(data)))


def test_zst_without_zstandard(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl.zst")
    cut = put(tmp_path / "cut.jsonl.zst", Path(path).read_bytes()[:-5])
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert texts(path) == TEXTS
    with pytest.raises(DataError, match=r"cut\.jsonl\.zst cannot be read to its end"):
        texts(cut)


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "binary", "dictionary"])
def test_arrow_kinds_of_string(tmp_path, kind):
    made = table().select(["text", "label"])
    if kind == "dictionary":
        made = made.set_column(0, "text", made["text"].dictionary_encode())
    else:
        made = made.set_column(0, "text", made["text"].cast(getattr(pa, kind)()))
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, made.schema) as writer:
        writer.write_table(made)
    assert texts(str(tmp_path / "a.arrow")) == TEXTS
    if kind != "string_view":  # Parquet has none
        parquet.write_table(made, tmp_path / "a.parquet")
        assert texts(str(tmp_path / "a.parquet")) == TEXTS


def test_parquet_columns_and_nulls(tmp_path):
    path = str(tmp_path / "a.parquet")
    parquet.write_table(pa.table({"text": ["a", "b", None], "n": [1, None, 3], "l": [["x"], [], None]}), path)
    with pytest.raises(DataError, match=r"\(column 'text'\) at .*a\.parquet row 3 is null; drop the row"):
        texts(path, batch_size=2)
    with pytest.raises(DataError, match=r"a\.parquet has no column 'label'; it has 'text', 'n', 'l'"):
        records.Reader([path], columns=["label"])
    for name in ("n", "l"):
        with pytest.raises(DataError, match=rf"column '{name}' of .*a\.parquet holds .*, not strings.*--text"):
            records.Reader([path], text=name)
    parquet.write_table(pa.table({"body": ["a", "b"], "n": [1, None], "l": [["x"], []]}), path)
    (batch,) = records.Reader([path], text="body", columns=["n", "l"])
    assert batch.texts == ["a", "b"] and batch.named("n") == [1, None] and batch.named("l") == [["x"], []]
    assert list(batch.rows) == [1, 2]


# -- sources ------------------------------------------------------------------------------------------------------


def test_expand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.csv", "a.csv.gz", "sub/c.parquet", "notes.md", ".hidden.csv", ".git/x.csv", "[1].txt"):
        path = Path("e" if name.startswith("[") else "d", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folder = [os.path.join("d", "a.csv.gz"), os.path.join("d", "b.csv"), os.path.join("d", "sub", "c.parquet")]
    assert files.expand(["d"]) == folder
    assert files.expand([Path("d")]) == files.expand("d") == folder
    assert files.expand(["e/[1].txt", "d/*.csv", "hf:a/b:train", "-"]) == ["e/[1].txt", "d/b.csv", "hf:a/b:train", "-"]
    assert files.expand(["d/**/*.parquet"]) == ["d/sub/c.parquet"]
    for sources, message in [
        (["d/b.csv", "nope.csv"], r"no such file or folder: 'nope\.csv'"),
        (["d/*.tsv"], r"no file matches 'd/\*\.tsv'"),
        (["d/*"], r"d/notes\.md has a suffix that is not known"),
        (["-", "-"], "only once"),
    ]:
        with pytest.raises(DataError, match=message):
            files.expand(sources)
    Path("empty").mkdir()
    with pytest.raises(DataError, match="folder empty holds no file"):
        files.expand(["empty"])


def test_several_sources_in_order(tmp_path):
    first, second = write(tmp_path / "z.csv"), write(tmp_path / "a.parquet")
    put(tmp_path / "m.jsonl", "")
    found = list(records.Reader([first, second], batch_size=100))
    # A batch never spans files, and the first record of lines is looked at before any is read.
    assert [(batch.source, len(batch.texts)) for batch in found] == [(first, 1), (first, 4), (second, 5)]
    assert texts(str(tmp_path)) == TEXTS + TEXTS
    assert records.count([second, second]) == 2 * len(TEXTS)
    assert records.count([str(tmp_path)]) is None
    with pytest.raises(DataError, match="no text in"):
        labelled.labelled([str(tmp_path / "m.jsonl")], Data())
    with pytest.raises(DataError, match="no file is named"):
        records.Reader([])


@pytest.mark.parametrize(
    "data, expected",
    [(b"one\n\ntwo", ["one", "", "two"]), (b'\n {"text": "a\\nb"}\n{"text": ""}\n', ["a\nb", ""]), (b"", []),
     (b"\xef\xbb\xbf__label__a b\n", ["b"])],
)  # fmt: skip
def test_stdin(monkeypatch, data, expected):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert records.count(["-"]) is None
    batches = list(records.Reader(["-"]))
    assert [text for batch in batches for text in batch.texts] == expected
    assert all(batch.source == "stdin" for batch in batches)


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow", ".csv", ".jsonl.zst", ".txt"])
def test_long_records_come_in_small_pieces(tmp_path, suffix):
    long = [("x" * 1_000_000, "a")] * 50
    path = tmp_path / f"a{suffix}"
    if suffix in (".feather", ".arrow", ".parquet"):  # all in one batch or row group
        new = {".feather": pa.ipc.new_file, ".arrow": pa.ipc.new_stream}.get(suffix)
        if new:
            with new(path, table(long).schema) as out:
                out.write_table(table(long))
        else:
            parquet.write_table(table(long), path, use_dictionary=False)
    else:
        write(path, long)
    sizes = [len(piece.rows) for piece in records.stream(str(path))]
    assert sum(sizes) == 50 and max(sizes) <= 17


def test_stdlib_formats_need_no_extra(tmp_path):
    """Text formats and a pipe, in an interpreter that has none of the extras."""
    paths = [write(tmp_path / f"a{suffix}") for suffix in (".csv", ".csv.gz", ".jsonl", ".txt", ".ft.gz")]
    program = (
        "import sys\n"
        "for name in ('pyarrow', 'zstandard', 'torch', 'datasets', 'pandas'): sys.modules[name] = None\n"
        "from sparsedistill.data import records\n"
        "from collections import Counter\n"
        "found = Counter()\n"
        "for batch in records.Reader(sys.argv[1:] + ['-']): found[batch.source] += len(batch.texts)\n"
        "for source, number in found.items(): print(source.split('/')[-1], number)\n"
        "try: list(records.Reader(['x.parquet']))\n"
        "except ImportError as error: print(error)\n"
    )
    write(tmp_path / "x.parquet")
    done = subprocess.run(
        [sys.executable, "-c", program, *paths],
        input=b"a\nb", capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    lines = done.stdout.decode().split("\n")
    assert done.returncode == 0, done.stderr.decode()
    assert lines[:3] == ["a.csv 5", "a.csv.gz 5", "a.jsonl 5"]
    assert lines[5:7] == ["stdin 2", "pyarrow is not installed: pip install 'sparsedistill[arrow]'"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A folder of Hugging Face datasets on disk: nothing of these tests touches the network."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("hub")
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    datasets.disable_progress_bars()
    features = datasets.Features({
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["neg", "pos"]),
        "many": datasets.Sequence(datasets.ClassLabel(names=["x", "y"])),
    })  # fmt: skip
    rows = {"text": ["a", "b\n", "", "d"], "label": [0, 1, 1, 0], "many": [[], [1], [0, 1], [0]]}
    made = datasets.Dataset.from_dict(rows, features=features)
    unlabelled = datasets.Dataset.from_dict({**rows, "label": [0, -1, -1, -1]}, features=features)
    splits = datasets.DatasetDict({"train": made, "validation": made.select([1]), "test": unlabelled})
    splits.save_to_disk(folder / "saved")
    made.save_to_disk(folder / "one")
    for name in ("raw", "odd"):
        (folder / name).mkdir()
    made.to_parquet(folder / "raw" / "train.parquet")
    made.select([1]).to_parquet(folder / "raw" / "validation.parquet")
    made.to_parquet(folder / "odd" / "test.parquet")
    datasets.enable_progress_bars()
    yield folder
    datasets.config.HF_DATASETS_CACHE = before


@pytest.mark.parametrize(
    "source, expected",
    [("saved", ["a", "b\n", "", "d"]), ("saved:validation", ["b\n"]), ("one", ["a", "b\n", "", "d"]),
     ("raw", ["a", "b\n", "", "d"]), ("raw:validation", ["b\n"]), ("raw:train[1:3]", ["b\n", ""]),
     ("odd", ["a", "b\n", "", "d"])],
)  # fmt: skip
def test_hugging_face_datasets(hub, source, expected):
    source = f"hf:{hub}/{source}"
    records.Reader([source], columns=["label"])
    assert records.count([source]) == len(expected)
    batches = list(records.Reader([source], columns=["label", "many"], batch_size=2))
    assert [text for batch in batches for text in batch.texts] == expected
    names = dict(zip(["a", "b\n", "", "d"], ["neg", "pos", "pos", "neg"]))
    assert [name for batch in batches for name in batch.named("label")] == [names[text] for text in expected]


def test_class_names_are_read_from_the_schema(hub):
    path = str(hub / "raw" / "train.parquet")  # the same file, as Parquet
    assert column("label", path) == ["neg", "pos", "pos", "neg"]
    found = labelled.labelled([path], Data(label="many", task="multi"))
    assert found.labels == ("x", "y") and found.targets.tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]


def test_hugging_face_refusals(hub):
    for source, message in [
        ("saved:nope", r"no split 'nope'; name one of train, validation, test"),
        ("raw:nope", r"raw:nope cannot be loaded: .*nope"),
        ("one:nope", r"has no splits; leave out :nope"),
    ]:
        with pytest.raises(DataError, match=message):
            records.Reader([f"hf:{hub}/{source}"])
    with pytest.raises(DataError, match="has no column 'body'; it has 'text', 'label', 'many'"):
        records.Reader([f"hf:{hub}/raw"], text="body")
    with pytest.raises(DataError, match=r"saved:test row 2 is missing"):  # -1
        labelled.labelled([f"hf:{hub}/saved:test"], CLASSES)


# -- labels -------------------------------------------------------------------------------------------------------


def label_file(tmp_path, values, name="a.jsonl"):
    return put(tmp_path / name, "".join(json.dumps({"text": f"t{i}", "label": v}) + "\n" for i, v in enumerate(values)))


@pytest.mark.parametrize("suffix", [*TABLES, ".ft", ".ft.gz"])
def test_labelled_single(tmp_path, suffix):
    records = [(text.replace("\r", "").replace("\n", ""), name) for text, name in RECORDS]
    found = labelled.labelled([write(tmp_path / f"a{suffix}", records)], Data(quoting="double"))
    assert found.texts == [text for text, _ in records] and found.labels == ("neg", "pos") and found.extra == {}
    assert found.targets.dtype == np.int64 and found.targets.tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "values, options, labels, targets",
    [
        ([10, 9, 10, -1], {}, ("-1", "9", "10"), [2, 1, 2, 0]),
        (["10", "9", "b"], {}, ("10", "9", "b"), [0, 1, 2]),
        ([True, False], {}, ("False", "True"), [1, 0]),
        ([1.0, 0.0, 1], {}, ("0", "1"), [1, 0, 1]),
        ([["a"], "b"], {}, ("a", "b"), [0, 1]),
        ([0, 1, 0], {"labels": ("neg", "pos")}, ("neg", "pos"), [0, 1, 0]),
        ([1, "neg"], {"labels": ("pos", "neg")}, ("pos", "neg"), [1, 1]),
        (["0", "2"], {"labels": ("x", "y", "z")}, ("x", "y", "z"), [0, 2]),
        ([1, 2], {"labels": ("1", "2", "3")}, ("1", "2", "3"), [0, 1]),  # names, though they could be indices
        ([0, 1], {"labels": ("1", "0")}, ("1", "0"), [1, 0]),
        (["b"], {"labels": ("b", "a")}, ("b", "a"), [0]),
    ],
)
def test_labels_single(tmp_path, values, options, labels, targets):
    found = labelled.labelled([label_file(tmp_path, values)], Data(**options))
    assert found.labels == labels and found.targets.tolist() == targets


def test_labels_of_another_set(tmp_path):
    path = label_file(tmp_path, ["pos", "neg", "meh"], "dev.jsonl")
    with pytest.raises(DataError, match=r"label 'meh' at .*dev\.jsonl:3 is not among those of train \(neg, pos\);"):
        labelled.labelled([path], Data(), labels=("neg", "pos"))
    with pytest.raises(DataError, match=r"'meh' at .*dev\.jsonl:3 is not among --labels \(pos, neg\)"):
        labelled.labelled([path], Data(labels=("pos", "neg")))
    assert labelled.labelled([path], Data(), labels=("meh", "neg", "pos")).targets.tolist() == [2, 1, 0]
    with pytest.raises(DataError, match=r"label '0' at .*:1 is not among those of train"):
        labelled.labelled([label_file(tmp_path, [0, 1])], Data(), labels=("neg", "pos"))
    with pytest.raises(DataError, match=r"label '2' at .*:2 is not among --labels"):
        labelled.labelled([label_file(tmp_path, [0, 2])], Data(labels=("neg", "pos")))


@pytest.mark.parametrize(
    "values, options, message",
    [
        (["a", None], {}, r"the label \(column 'label'\) at .*a\.jsonl:2 is missing"),
        (["a", ""], {}, r"a\.jsonl:2 is missing"),
        (["a", float("nan")], {}, r"a\.jsonl:2 is missing"),
        (["a", []], {}, r"a\.jsonl:2 is missing"),
        (["a", ["b", "c"]], {}, r"a\.jsonl:2 has 2 names \(b, c\), not one; use --task multi"),
        (["a", {"b": 1}], {}, r"a\.jsonl:2 is of type dict"),
        (["a", "a"], {}, r"only one label, 'a',.*--label"),
        ([[], ""], {"task": "multi"}, r"no label at all"),
        ([["a", None]], {"task": "multi"}, r"a\.jsonl:1 is missing"),
        ([None], {"task": "multi"}, r"a\.jsonl:1 is missing"),
        ([1, None], {"task": "regression"}, r"a\.jsonl:2 is missing"),
        ([1, "x"], {"task": "regression"}, r"a\.jsonl:2 is 'x', but --task regression wants a number"),
        ([1, float("nan")], {"task": "regression"}, r"a\.jsonl:2 is nan, .*finite"),
        ([1, 1e39], {"task": "regression"}, r"a\.jsonl:2 is 1e\+39, .*finite"),
        ([], {}, "there is no text in"),
    ],
)
def test_label_refusals(tmp_path, values, options, message):
    with pytest.raises(DataError, match=message):
        labelled.labelled([label_file(tmp_path, values)], Data(**options))


def test_label_settings(tmp_path):
    path = label_file(tmp_path, ["a", "b"])
    with pytest.raises(SettingsError, match="named twice"):
        labelled.labelled([path], Data(labels=("a", "b", "a")))
    with pytest.raises(SettingsError, match="task 'triple' is not known"):
        labelled.labelled([path], Data(task="triple"))
    with pytest.raises(SettingsError, match="encoding errors 'ignore' is not known"):
        texts(path, encoding_errors="ignore")


def test_labelled_row_is_the_line_of_the_file(tmp_path):
    path = put(tmp_path / "a.csv", 'text,label\n"two\nlines",x\n\nb,\n')
    with pytest.raises(DataError, match=r"a\.csv:5 is missing"):
        labelled.labelled([path], CLASSES)
    parquet.write_table(pa.table({"text": ["a", "b", "c"], "label": ["x", "y", "z"]}), tmp_path / "a.parquet")
    other = write(tmp_path / "b.csv", [("a", "x")])
    with pytest.raises(DataError, match=r"'z' at .*a\.parquet row 3 is not among"):
        labelled.labelled([other, str(tmp_path / "a.parquet")], CLASSES, labels=("x", "y"))


def test_multi(tmp_path):
    path = label_file(tmp_path, [["b", "a"], [], "a, c", "", 7, ["a"]])
    found = labelled.labelled([path], Data(task="multi"))
    assert found.labels == ("7", "a", "b", "c") and found.targets.dtype == np.float32
    assert found.targets.tolist() == [[0, 1, 1, 0], [0] * 4, [0, 1, 0, 1], [0] * 4, [1, 0, 0, 0], [0, 1, 0, 0]]
    found = labelled.labelled([label_file(tmp_path, [[0, 2], [], [1]])], Data(task="multi", labels=("x", "y", "z")))
    assert found.targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    fast = put(tmp_path / "a.txt", "__label__b __label__a one\n__label__b two\n")
    found = labelled.labelled([fast], Data(task="multi", label="kind"))
    assert found.texts == ["one", "two"] and found.targets.tolist() == [[1, 1], [0, 1]]
    with pytest.raises(DataError, match=r"a\.txt:1 has 2 names \(b, a\), not one; use --task multi"):
        labelled.labelled([fast], Data(label="kind"))


def test_regression_and_extra(tmp_path):
    path = put(tmp_path / "a.csv", "text,label,group\na,0.5,x\nb,-2,y\nc,1e3,x\n")
    found = labelled.labelled([path], Data(task="regression"), columns=["group"])
    assert found.labels == ("score",) and found.targets.dtype == np.float64 and found.targets.shape == (3,)
    assert found.targets.tolist() == [0.5, -2, 1000] and found.extra == {"group": ["x", "y", "x"]}


@pytest.mark.skipif(not (ROOT / "../shared/data").exists(), reason="needs the shared data")
def test_sst2():
    path = str(ROOT / "../shared/data/sst2/dev.parquet")
    assert records.count([path]) == len(texts(path)) == 872
    found = labelled.labelled([path], Data(label="label_name"))
    assert found.labels == ("negative", "positive") and found.targets.sum() == 444
    by_index = labelled.labelled([path], Data(labels=("negative", "positive")))
    assert (by_index.targets == found.targets).all()


# -- how a file is written, where its name does not tell ----------------------------------------------------------


def both(source, **form):
    """The texts of a source, which both ways of reading give alike."""
    form = files.Form(**form)
    found = texts(source, form=form)
    assert whole_texts(source, form=form) == found
    return found


def twin_of_tsv(data: str) -> list[list[str]]:
    """The records of TSV without quotes below its header, by hand: a line each, and a tab between fields."""
    lines = data.split("\n")
    width = lines[0].count("\t") + 1
    return [line.split("\t") for line in lines[1:-1] if line or width == 1]


field = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\ufeff"), max_size=12
) | st.sampled_from(['"', '"good', 'bad"', '""', '"a""b"', "'", " ", "a,b"])


@quiet
@given(st.lists(st.lists(field, min_size=2, max_size=2), max_size=8), st.booleans())
def test_tsv_has_a_record_a_line_whatever_quotes_it_holds(tmp_path, records, crlf):
    end = "\r\n" if crlf else "\n"
    path = put(tmp_path / "a.tsv", "".join("\t".join(row) + end for row in [["text", "n"], *records]))
    expected = twin_of_tsv("".join("\t".join(row) + "\n" for row in [["text", "n"], *records]))
    expected = [row for row in expected if row != ["text", "n"]]
    assert both(path) == [row[0] for row in expected]
    assert column("n", path) == [row[1] for row in expected]


def test_quotes_in_tsv_and_csv_are_what_is_said(tmp_path, capsys):
    path = put(tmp_path / "a.tsv", 'text\tlabel\n"Good value\tpos\nawful service"\tneg\nlovely\tpos\n')
    assert both(path) == ['"Good value', 'awful service"', "lovely"] and column("label", path) == ["pos", "neg", "pos"]
    assert capsys.readouterr().err == ""
    path = put(tmp_path / "b.tsv", 'text\tlabel\n"say ""no"""\tpos\n')
    assert both(path) == ['"say ""no"""'] and "--quoting double where they are not" in capsys.readouterr().err
    assert both(path, quoting="double") == ['say "no"']
    assert both(put(tmp_path / "c.csv", 'text,label\n"a,b"\n'), quoting="none") == ['"a']
    assert both(put(tmp_path / "one.tsv", "text\na\n\nb\n")) == ["a", "", "b"]  # with one column a blank line is a text
    assert both(put(tmp_path / "two.tsv", "text\tl\na\tx\n\nb\tx\n")) == ["a", "b"]


def test_delimiters(tmp_path):
    for comma in (";", "|", "\t", ",", "~"):
        path = put(tmp_path / "a.csv", f'text{comma}label\n"a{comma}b"{comma}x\n')
        assert both(path, delimiter=comma) == [f"a{comma}b"]
    for tab in ("\\t", "tab"):
        assert both(put(tmp_path / "t.csv", "text\tlabel\na,b\tx\n"), delimiter=tab) == ["a,b"]
    for wrong in (";;", '"', "\n", "\r"):
        with pytest.raises(SettingsError, match=r"--delimiter .* is not one character"):
            files.Form(delimiter=wrong)
    with pytest.raises(SettingsError, match="input format 'xml' is not known"):
        files.Form("xml")
    with pytest.raises(SettingsError, match="quoting 'all' is not known"):
        files.Form(quoting="all")


def test_no_header(tmp_path):
    path = put(tmp_path / "a.csv", '3,"Wall St. Bears","again"\n1,b,c\n')
    read = {"text": "2", "form": files.Form(header=False)}
    assert texts(path, **read) == whole_texts(path, **read) == ["Wall St. Bears", "b"]
    assert rows(path, **read) == [1, 2]
    found = labelled.labelled([path], Data(text="2", label="1", header=False))
    assert found.labels == ("1", "3") and found.targets.tolist() == [1, 0]
    assert texts(put(tmp_path / "b.tsv", "text\nx\ntext\n"), text="1", form=files.Form(header=False)) == [
        "text",
        "x",
        "text",
    ]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_header_once_more_is_no_record_and_is_said(tmp_path, capsys, suffix):
    comma = "," if suffix == ".csv" else "\t"
    header = f"text{comma}label\n"
    path = put(
        tmp_path / f"a{suffix}", f"\ufeff{header}good{comma}pos\n{header}bad{comma}neg\n\ufeff{header}so{comma}neg\n"
    )
    assert both(path) == ["good", "bad", "so"] and rows(path) == [2, 4, 6]
    assert capsys.readouterr().err == f"{path}: 2 repeated headers were left out (the first at line 3)\n"  # once
    assert labelled.labelled([path], CLASSES).labels == ("neg", "pos")
    path = put(tmp_path / f"b{suffix}", f"{header}good{comma}pos\nlabel{comma}text\nneg{comma}bad\n")
    with pytest.raises(DataError, match=rf"b\{suffix}:3 is a header with the columns in another order; split the file"):
        both(path)
    path = put(tmp_path / f"c{suffix}", "text\ngood\ntext\n")
    assert (
        both(path) == ["good", "text"] and f"c{suffix}:3 is the header once more, or a text" in capsys.readouterr().err
    )


def test_columns_that_a_spreadsheet_left_behind(tmp_path):
    assert both(put(tmp_path / "a.csv", "text,label,,\ngood,pos,,\nbad,neg\nso,neg,\n")) == ["good", "bad", "so"]
    with pytest.raises(DataError, match=r"b\.csv:3 has 4 fields, but the header has 2; name the columns at its end"):
        both(put(tmp_path / "b.csv", "text,label,,\ngood,pos,,\nbad,neg,,7\n"))
    with pytest.raises(DataError, match=r"c\.csv:2 has 3 fields, but the header has 2; take away the empty ones"):
        both(put(tmp_path / "c.csv", "text,label\ngood,pos,\n"))
    assert both(put(tmp_path / "d.csv", "text,\ngood,7\n")) == ["good"] and column("", str(tmp_path / "d.csv")) == ["7"]


def test_marks_inside_files_that_were_put_together(tmp_path):
    mark = "\ufeff"
    assert both(put(tmp_path / "a.txt", f"{mark}one\n{mark}two\n")) == ["one", "two"]
    assert both(put(tmp_path / "a.jsonl", f'{mark}{{"text": "one"}}\n{mark}{{"text": "two"}}\n')) == ["one", "two"]
    fast = put(tmp_path / "a.ft", f"{mark}__label__a one\n{mark}__label__b two\n")
    assert both(fast) == ["one", "two"] and column("label", fast) == [["a"], ["b"]]
    assert both(put(tmp_path / "a.csv", f'text,n\none,1\n{mark}"two, 2",2\n"x\n{mark}y",3\n')) == [
        "one",
        "two, 2",
        f"x\n{mark}y",
    ]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", "text;label\na;b\n", r"separated by ';': give --delimiter ';'"),
        ("a.csv", "text\tlabel\na\tb\n", r"give --delimiter 'tab'"),
        ("a.tsv", "text,label\na,b\n", r"separated by ',': give --delimiter ','"),
        ("a.csv", "sep=;\ntext;label\n", r"take its first line away, and give --delimiter ';'"),
        ("a.csv", "3,Wall St.,again\n", r"no column 'text'; it has '3', .*give --no-header where its first line"),
        ("a.tsv", '"text"\t"label"\n"a"\t"b"\n', r"its names are in quotes: give --quoting double"),
        ("a.csv", "text,label\rgood,pos\r", r"a\.csv ends lines with carriage returns alone.*tr '\\r' '\\n'"),
        ("a.txt", "one\rtwo\r", r"carriage returns alone"),
        ("a.txt", "text\tlabel\na\tb\n", r"first line of .*a\.txt is 'text\\tlabel'.*--input-format tsv, or"),
        ("a.csv", "text,l\ngood,приве́т\n".encode("utf-16-le"), r"is UTF-16LE; convert it: iconv -f utf-16le -t utf-8"),
        ("a.txt", "приве́т мир\n".encode("utf-16-be"), r"is UTF-16BE; convert it: iconv -f utf-16be"),
        ("a.txt", "日本　語 です\n".encode("utf-16-le"), r"is UTF-16LE"),
        ("a.txt", "one\n".encode("utf-32"), r"is UTF-32; convert it: iconv -f utf-32"),
        ("a.csv", b"PAR1\x15\4", r"a\.csv is Parquet; rename it to \.parquet, or give --input-format parquet"),
        ("a.csv", gzip.compress(b"PAR1\x15\4", mtime=0), r"a\.csv is Parquet"),
        ("a.jsonl", b"ARROW1\0\0", r"a\.jsonl is Arrow; rename"),
        ("a.csv", b"PK\3\4junk", r"a\.csv is a ZIP archive or a spreadsheet; .*save it as CSV"),
        ("a.txt", b"BZh91AY&SYjunk", r"compressed by bzip2 or xz; unpack it"),
        ("a.parquet", gzip.compress(b"x", mtime=0), r"a\.parquet is no Parquet, but compressed by gzip; unpack it"),
        ("a.parquet", b"ARROW1\0\0", r"a\.parquet is no Parquet, but Arrow"),
        ("a.json", '["one"]', r"a\.json row 1 is of type str, not an object"),
        ("a.json", '[{"text": "a"},', r"a\.json begins like a list of JSON, but is none"),
        ("a.json", '[{"text": "a"}, {"txt": "b"}]', r"a\.json row 2 has no column 'text'"),
        ("a.json", '{\n"text": "a"}\n', r"a\.json:1 is not valid JSON"),
        ("a.dat", "one\n", r"a\.dat has a suffix that is not known .*--input-format reads any other"),
    ],
)  # fmt: skip
def test_what_a_file_is_instead_is_said(tmp_path, name, content, message):
    path = put(tmp_path / name, content)
    for read in (texts, whole_texts):
        with pytest.raises(DataError, match=message):
            files.expand([path])
            read(path)


def test_zero_bytes_are_characters(tmp_path):
    assert both(put(tmp_path / "a.txt", "a\0b\nc\n")) == ["a\0b", "c"]
    assert both(put(tmp_path / "a.tsv", "text\tn\na\0\t1\n")) == ["a\0"]
    assert both(put(tmp_path / "PAR1.txt", "PAR1 is a text\n")) == ["PAR1 is a text"]


@quiet
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_no_text_in_utf8_is_taken_for_another_encoding(text):
    assert encoding_of(text.encode()) == ""


@quiet
@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), min_size=1), min_size=1, max_size=9))
def test_lines_in_utf16_are_known_without_a_mark(lines):
    text = "text\n" + "".join(line + "\n" for line in lines)
    for encoding in ("utf-16-le", "utf-16-be"):
        found = encoding_of(text.encode(encoding))
        assert found in ("", encoding.replace("-16-", "-16"))  # never the other one
        if text.isascii():
            assert found


def test_compressed_files_without_the_suffix(tmp_path):
    assert both(put(tmp_path / "a.csv", gzip.compress(b"text\ngood\n", mtime=0))) == ["good"]
    zstandard = pytest.importorskip("zstandard")
    assert both(put(tmp_path / "a.txt", zstandard.compress(b"one\ntwo\n"))) == ["one", "two"]


def test_input_format_goes_over_the_suffix(tmp_path):
    for kind, suffix in (
        ("csv", ".csv"),
        ("jsonl", ".jsonl"),
        ("parquet", ".parquet"),
        ("arrow", ".arrow"),
        ("arrow", ".feather"),
    ):
        (tmp_path / f"a{suffix}").unlink(missing_ok=True)
        path = tmp_path / f"{kind}.dat"
        path.write_bytes(Path(write(tmp_path / f"a{suffix}")).read_bytes())
        assert both(str(path), format=kind) == TEXTS
        columnar = kind in ("parquet", "arrow")
        assert records.count([str(path)], files.Form(kind)) == (len(TEXTS) if columnar else None)
        records.Reader([str(path)], columns=["label"], form=files.Form(kind))
    path = put(tmp_path / "b.csv", "__label__a one\n\n")
    assert both(path, format="lines") == ["__label__a one", ""]
    assert texts(path, form=files.Form("fasttext")) == ["one"]
    assert labelled.labelled([str(tmp_path / "csv.dat")], Data(input_format="csv")).labels == ("neg", "pos")
    folder = tmp_path / "shards"
    folder.mkdir()
    for name in ("part-1", "part-0", "_SUCCESS", ".part-0.crc"):
        put(folder / name, "" if name[0] in "_." else f"{name}\n")
    assert texts(str(folder), form=files.Form("lines")) == ["part-0", "part-1"]


def test_one_list_of_json(tmp_path):
    records = [{"text": text, "label": name} for text, name in RECORDS]
    for indent in (None, 2):
        path = put(tmp_path / "a.json", "\ufeff" * bool(indent) + json.dumps(records, indent=indent))
        assert both(path) == TEXTS and rows(path) == [1, 2, 3, 4, 5]
        assert labelled.labelled([path], CLASSES).targets.tolist() == [1, 0, 1, 0, 1]
    assert both(put(tmp_path / "b.json", '{"text": "one"}\n{"text": "two"}\n')) == ["one", "two"]
    assert both(put(tmp_path / "c.json", "[]")) == []
    with pytest.raises(DataError, match=r"d\.json row 2 has half a surrogate pair"):
        both(put(tmp_path / "d.json", '[{"text": "a"}, {"text": "\\ud800"}]'))
    with pytest.raises(DataError, match=r"label \(column 'label'\) at .*e\.json row 2 is missing"):
        labelled.labelled([put(tmp_path / "e.json", '[{"text":"a","label":"x"},{"text":"b","label":null}]')], CLASSES)


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"{name}, thanks\ngood\n", ["{name}, thanks", "good"]),
        (b"{{x}}\n", ["{{x}}"]),
        (b"[deleted]\n[1] x\n", ["[deleted]", "[1] x"]),
        (b'[{"text": "a"}, {"text": "b"}]', ["a", "b"]),
        (b'[\n {"text": "a"},\n {"text": "b"}\n]\n', ["a", "b"]),
        (gzip.compress(b"a\nb\n", mtime=0), ["a", "b"]),
    ],
)
def test_what_stdin_is(monkeypatch, data, expected):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert texts("-") == expected


@pytest.mark.parametrize(
    "data, options, message",
    [
        (b"id,body\n1,a\n", {"text": "body"}, r"stdin is lines of text, .*no column 'body'.*--input-format csv"),
        (b"text,label\na,x\n", {}, r"first line of stdin is 'text,label'.*give --input-format csv, or"),
        (b"label;text\n", {}, r"--input-format csv --delimiter ';'"),
        (b"Text\tlabel\n", {}, r"--input-format tsv"),
        (b"text\ngood\n", {}, r"a table's header as it seems"),
        (b'{"text": "a"\n', {}, r"stdin:1 is not valid JSON .*--input-format lines where stdin is text"),
        (b"{'text': 'a'}\n", {}, r"stdin:1 is not valid JSON"),
        (b"{\n", {}, r"stdin:1 is not valid JSON"),
        (b'["a", "b"]\n', {}, r"stdin:1 is of type str, not an object"),
        (b"[\n1\n]", {}, r"stdin:1 is of type int"),
        (b"PAR1\x15\4", {}, r"stdin is Parquet; .*--input-format parquet"),
        (b"\xff\xff\xff\xff0000", {}, r"stdin is Arrow; .*--input-format arrow"),
    ],
)
def test_what_stdin_cannot_be(monkeypatch, data, options, message):
    for read in (texts, whole_texts):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        with pytest.raises(DataError, match=message):
            read("-", **options)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".arrow", ".feather", ".txt"])
def test_input_format_of_stdin(tmp_path, monkeypatch, suffix):
    data = Path(write(tmp_path / f"a{suffix}", [(text.replace("\n", ""), name) for text, name in RECORDS])).read_bytes()
    kind = {".feather": "arrow", ".txt": "lines"}.get(suffix, suffix[1:])
    expected = both(str(tmp_path / f"a{suffix}"))
    for read in (texts, whole_texts):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert read("-", form=files.Form(kind)) == expected
    assert records.count(["-"], files.Form(kind)) is None


def test_a_table_on_stdin_that_does_not_say_so_is_asked_about(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"id;body\n1;a\n")))
    assert texts("-") == ["id;body", "1;a"]
    assert "where 'id;body' is a table's header, give --input-format csv and --text" in capsys.readouterr().err


def test_what_lies_about_in_a_folder_of_data(tmp_path, capsys):
    for name in ("LICENSE.txt", "README.txt", "notes.txt"):
        put(tmp_path / name, "no warranty\n")
    assert files.expand([str(tmp_path)]) == [str(tmp_path / "notes.txt")]  # a folder of texts
    write(tmp_path / "a.parquet")
    assert texts(str(tmp_path)) == TEXTS
    said = capsys.readouterr().err
    assert all(name in said for name in ("LICENSE.txt", "README.txt", "notes.txt", "a.parquet", "left out"))
    assert texts(str(tmp_path / "LICENSE.txt")) == ["no warranty"]
    put(tmp_path / "state.json", "{}")
    with pytest.raises(DataError, match=rf"{tmp_path} is a Hugging Face dataset saved to disk; write hf:{tmp_path}"):
        files.expand([str(tmp_path)])


# -- several labels a text ----------------------------------------------------------------------------------------

XYZ = ("x", "y", "z")


def multi(tmp_path, values, kind="jsonl", names=(), **options):
    data = Data(task="multi", labels=names, **options)
    if kind == "csv":
        out = io.StringIO(newline="")
        csv.writer(out).writerows([("text", "label"), *((f"t{i}", value) for i, value in enumerate(values))])
        path = put(tmp_path / "a.csv", out.getvalue())
    elif isinstance(kind, pa.DataType):
        path = str(tmp_path / "a.parquet")
        made = {"text": [f"t{i}" for i in range(len(values))], "label": pa.array(values, kind)}
        parquet.write_table(pa.table(made), path)
    else:
        path = label_file(tmp_path, values)
    return labelled.labelled([path], data)


HOT = [[0, 0, 1], [1, 0, 1], [0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    "kind",
    ["jsonl", pa.list_(pa.int8()), pa.list_(pa.int64(), 3), pa.large_list(pa.float32()), pa.list_(pa.bool_()),
     pa.list_(pa.bool_(), 3), pa.list_(pa.uint8())],
    ids=str,
)  # fmt: skip
def test_multi_hot_lists(tmp_path, kind):
    values = [[bool(v) for v in row] for row in HOT] if "bool" in str(kind) else HOT
    found = multi(tmp_path, values, kind, names=XYZ)
    assert found.labels == XYZ and found.targets.tolist() == HOT and found.multi_hot


@pytest.mark.parametrize("write_cell", [
    str, json.dumps, lambda row: str(np.array(row)), lambda row: str(np.array(row, float)), lambda row: str(tuple(row)),
    lambda row: str([bool(v) for v in row]), lambda row: json.dumps([bool(v) for v in row]),
    lambda row: ",".join(map(str, row)),
])  # fmt: skip
def test_multi_hot_cells(tmp_path, write_cell):
    assert multi(tmp_path, list(map(write_cell, HOT)), "csv", names=XYZ).targets.tolist() == HOT


label_name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).map(str.strip).filter(bool)


@quiet
@given(st.lists(st.lists(label_name, max_size=4, unique=True), min_size=1, max_size=6).filter(any))
def test_lists_in_cells_are_what_was_written(tmp_path, sets):
    for how in (str, json.dumps, lambda names: json.dumps(names, ensure_ascii=False), lambda names: str(tuple(names)),
                lambda names: str(np.array(names, object)) if names else "[]"):  # fmt: skip
        assert [labels.names_of(how(names), ",") for names in sets] == [tuple(names) for names in sets]


@pytest.mark.parametrize(
    "cell",
    ["['a', 'b'", "[a', 'b']", "['a', ['b']]", "[0 0 ... 1]", "[np.str_('a')]", "['a' 'b', 'c']", "[very good, bad]",
     "{'a': 1}", "['a'] ['b']", "['a'; 'b']"],
)  # fmt: skip
def test_cells_in_brackets_that_are_no_list(tmp_path, cell):
    with pytest.raises(
        DataError, match=r"label \(column 'label'\) at .*a\.csv:3 is .*no list as Python, JSON or numpy"
    ):
        multi(tmp_path, ["['a']", cell], "csv")


def test_brackets_that_are_a_name(tmp_path):
    assert multi(tmp_path, ["(other)", "{x}"], "csv").labels == ("(other)", "{x}")
    assert multi(tmp_path, ["[]", "set()", "['a']"], "csv").targets.tolist() == [[0], [0], [1]]
    path = put(tmp_path / "a.csv", "text,label\na,[PAD]\nb,['x']\n")
    assert labelled.labelled([path], CLASSES).labels == ("[PAD]", "x")
    with pytest.raises(DataError, match=r"a\.csv:2 has 2 names \(x, y\), not one; use --task multi"):
        labelled.labelled([put(tmp_path / "a.csv", "text,label\na,\"['x', 'y']\"\n")], CLASSES)


@pytest.mark.parametrize(
    "values, labels, message",
    [
        ([[0, 1, 0], ["x"]], XYZ, r"at .*:1 has a number twice, as lists of 0 and 1 do, but others are no 0 and 1"),
        ([[0, 0, 1], [0, 2, 0]], XYZ, r"at .*:1 has a number twice"),
        ([[0, 1], [1, 0]], ("0", "1"), r"at .*:1 \(column 'label'\) may name labels, or say of each whether"),
        ([[0, 0], [1, 0]], ("0", "1"), r"may name labels, .*\(labels: 0, 1\); write names, or give a column to"),
        ([[0], [0]], ("x",), r"may name labels"),
        ([[0, 0, 1], [1, 0]], XYZ, r"0 or 1 for each of 3 labels \(x, y, z\), but at .*:2 there are 2"),
        ([[0, 0, 1], []], XYZ, r"at .*:2 there are 0"),
        ([[0, 0, 1]], (), r"lists of 0 and 1 at .*:1 .* name the labels in their order with --labels"),
        ([[True, False]], (), r"name the labels in their order"),
        ([[0, 1], [1, 0]], (), r"name the labels in their order"),
        ([[0.5, 0.5, 0]], XYZ, r":1 holds 0\.5, which is neither a name nor 0 or 1"),
        ([[0, None, 1]], XYZ, r":1 is missing"),
    ],
)  # fmt: skip
def test_lists_of_numbers_that_can_be_read_in_two_ways(tmp_path, values, labels, message):
    with pytest.raises(DataError, match=message):
        multi(tmp_path, values, names=labels)


def test_two_labels_of_which_a_list_has_as_many_are_multi_hot(tmp_path):
    # As indices they would say that every text has both.
    assert multi(tmp_path, [[0, 1], [1, 0]], names=("x", "y")).targets.tolist() == [[0, 1], [1, 0]]
    assert multi(tmp_path, [[0.0, 1.0], [1.0, 0.0]], names=("x", "y")).targets.tolist() == [[0, 1], [1, 0]]
    assert multi(tmp_path, [[0, 1], [1]], names=("x", "y")).targets.tolist() == [[1, 1], [0, 1]]


def test_indices_stay_indices(tmp_path):
    assert multi(tmp_path, [[0, 1], [1], []], names=XYZ).targets.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert multi(tmp_path, [[0, 1], [1], []]).labels == ("0", "1")
    assert multi(tmp_path, [[0, 1, 2], [1, 2, 0]], names=XYZ).targets.tolist() == [[1, 1, 1]] * 2
    assert multi(tmp_path, [0, 1, 1], names=("x",)).targets.tolist() == [[0], [1], [1]]


def test_dev_means_what_train_means(tmp_path):
    two = Data(task="multi", labels=("x", "y"))
    unclear = label_file(tmp_path, [[0, 1], [1, 0]])
    for hot, expected in ((True, [[0, 1], [1, 0]]), (False, [[1, 1], [1, 1]])):
        found = labelled.labelled([unclear], two, ("x", "y"), multi_hot=hot)
        assert found.targets.tolist() == expected and found.multi_hot is hot
    with pytest.raises(DataError, match=r"at .*:1 .* are a 0 or 1 for each label, but those of train name labels"):
        labelled.labelled([label_file(tmp_path, [[0, 0], [1, 0]])], two, ("x", "y"), multi_hot=False)
    with pytest.raises(DataError, match=r"a 0 or 1 for each label in train, but not at .*:1;"):
        labelled.labelled([label_file(tmp_path, [[2], [0]])], Data(task="multi", labels=XYZ), XYZ, multi_hot=True)
    with pytest.raises(DataError, match=r"but at .*:1 there are 1"):
        labelled.labelled([label_file(tmp_path, [[1], [0]])], Data(task="multi", labels=XYZ), XYZ, multi_hot=True)


def test_label_separator(tmp_path):
    for sign in ";|/":
        found = multi(tmp_path, [f"a{sign}b, c", f" b, c {sign} d", ""], "csv", label_separator=sign)
        assert found.labels == ("a", "b, c", "d") and found.targets.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    with pytest.raises(DataError, match=r"label 'a;b' in .*a\.csv .* seems to be several: give --label-separator ';'"):
        multi(tmp_path, ["a;b", "a", "b"], "csv")
    assert multi(tmp_path, ["a;b", "a", "b"], "csv", names=("a", "b", "a;b")).targets.sum() == 3
    with pytest.raises(SettingsError, match="--label-separator is empty"):
        multi(tmp_path, ["a"], "csv", label_separator="")


def test_a_column_for_each_label(tmp_path):
    columns = ("toxic", "spam", "sport")
    path = put(tmp_path / "a.csv", "text,toxic,spam,sport\na,0,1,0\nb,1.0,False,TRUE\n")
    found = labelled.labelled([path], Data(task="multi", label=columns))
    assert (
        found.labels == columns
        and found.targets.tolist() == [[0, 1, 0], [1, 0, 1]]
        and found.targets.dtype == np.float32
    )
    found = labelled.labelled([path], Data(task="multi", label=columns[:2], labels=("T", "S")), ("S", "T"))
    assert found.labels == ("S", "T") and found.targets.tolist() == [[1, 0], [0, 1]]
    made = {"text": ["a", "b"], "toxic": [True, False], "spam": pa.array([1, 0], pa.int8()), "sport": [0.0, 1.0]}
    parquet.write_table(pa.table(made), tmp_path / "a.parquet")
    found = labelled.labelled([str(tmp_path / "a.parquet")], Data(task="multi", label=columns))
    assert found.targets.tolist() == [[1, 1, 0], [0, 0, 1]]
    for value, why in (
        ("", "is missing"),
        ("2", r"is '2', not 0 or 1"),
        ("yes", r"is 'yes', not 0 or 1"),
        ("-1", "is '-1', not 0 or 1"),
    ):
        path = put(tmp_path / "b.csv", f"text,toxic,spam\na,0,1\nb,1,{value}\n")
        with pytest.raises(DataError, match=rf"label \(column 'spam'\) at .*b\.csv:3 {why}"):
            labelled.labelled([path], Data(task="multi", label=("toxic", "spam")))
    for options, message in (
        ({"label": ("toxic", "spam")}, "names 2 columns, one a class, which is for --task multi"),
        ({"label": ("toxic", "toxic"), "task": "multi"}, "named twice"),
        ({"label": (), "task": "multi"}, "no column of labels is named"),
        ({"label": ("toxic", "spam"), "task": "multi", "labels": ("T",)}, "names 1 classes, but --label 2 columns"),
    ):
        with pytest.raises(SettingsError, match=message):
            labelled.labelled([path], Data(**options))
    with pytest.raises(SettingsError, match="columns of --label are toxic, spam, but the labels a, b"):
        labelled.labelled(
            [put(tmp_path / "c.csv", "text,toxic,spam\na,0,1\n")],
            Data(task="multi", label=("toxic", "spam")),
            ("a", "b"),
        )


def test_spaces_and_case_of_labels(tmp_path, capsys):
    path = put(tmp_path / "a.csv", "text,label\ngood film,Spam\nbad film,spam\nok film,SPAM \nfine,ham\n")
    assert labelled.labelled([path], CLASSES).labels == ("SPAM", "Spam", "ham", "spam")
    assert "labels 'SPAM' (1), 'Spam' (1), 'spam' (1) in" in capsys.readouterr().err
    path = put(tmp_path / "b.csv", "text,label\na, pos\nb,pos \nc,neg\n")
    found = labelled.labelled([path], CLASSES)
    assert found.labels == ("neg", "pos") and found.targets.tolist() == [1, 1, 0] and capsys.readouterr().err == ""
    assert labelled.labelled([path], Data(labels=("neg ", "pos"))).labels == ("neg ", "pos")
    with pytest.raises(DataError, match=r"c\.csv:2 is missing"):
        labelled.labelled([put(tmp_path / "c.csv", "text,label\na, \nb,x\n")], CLASSES)


@pytest.mark.parametrize(
    "values, message",
    [
        ([0.37, 4.5, 0.37, 1], "are numbers such as 0.37: are they scores (--task regression)"),
        (["4.5", "3", "3"], "are numbers such as 4.5"),
        (["a", "b", "c", "d"], "there are 4 labels for 4 texts"),
        ([f"l{i % 80}" for i in range(100)], "there are 80 labels for 100 texts"),
        (["a", "b", "a"], ""),
        ([3, 4, 3], ""),
        (["a", "b"], ""),
    ],
)
def test_labels_that_look_like_something_else_are_asked_about(tmp_path, capsys, values, message):
    labelled.labelled([label_file(tmp_path, values)], CLASSES)
    said = capsys.readouterr().err
    assert message in said and bool(said) == bool(message)
