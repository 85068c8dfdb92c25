"""The experiments: what they keep, what they share between runs, and the paper's other students."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from processes import Forked

pytest.importorskip("torch")
pytest.importorskip("transformers")

sys.path.append(str(ROOT))
from benchmarks import baselines, splits
from experiments import cells, claims, corpora, records, report, study
from experiments.studies import STUDIES
from experiments.task import Place, Task, variant
from sparsedistill import cli
from sparsedistill.run import Run
from sparsedistill.settings import build
from sparsedistill.student.vocabulary import Vocabulary

DATA = ROOT.parent / "shared" / "data"


def scores(text: str) -> list[float]:
    low = text.lower()
    return [float(low.count(word)) for word in ("a", "e", "o")]


@pytest.fixture
def run(tmp_path, tweets) -> Run:
    """A run of real tweets whose soft labels stand beside them."""
    files = {}
    for part, begin, end in (("train", 0, 300), ("dev", 300, 400), ("test", 400, 600), ("corpus", 600, 1000)):
        rows = [{"text": text, "label": label, "scores": scores(text)} for text, label in tweets[begin:end]]
        path = tmp_path / f"{part}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files[part] = str(path)
    return Run(tmp_path / "base", settings(files))


def settings(files: dict[str, str], **distill):
    few = {"hidden": [8], "epochs": 1, "threads": 1, "device": "cpu", "modes": ["kd"]}
    return build({"data": files, "teach": {"teacher": "column:scores"}, "distill": {**few, **distill}}, "test")


def files_of(run: Run) -> dict[str, str]:
    return {part: getattr(run.settings.data, part)[0] for part in ("train", "dev", "test", "corpus")}


def times(run: Run) -> dict[str, int]:
    """When each file of a run was written, those of its variants apart."""
    found = [path for path in run.directory.rglob("*") if path.is_file() and "variants" not in path.parts]
    return {str(path): path.stat().st_mtime_ns for path in found}


def same_files(run: Run, other: Run, folder: str) -> bool:
    """Whether all files of a folder are one and the same in both runs."""
    files = [path for path in (run.directory / folder).iterdir() if path.is_file()]
    return bool(files) and all((other.directory / folder / path.name).samefile(path) for path in files)


def test_variants_inherit_what_they_would_make_alike(run):
    run.execute(("label", "count"))
    other = variant(run, settings(files_of(run), hidden=[4]), "narrow")
    assert same_files(run, other, "logits/corpus")
    assert same_files(run, other, "vocabulary/all")
    before = times(run)
    other.execute(("count", "distill", "finetune", "compress"))
    assert (other.directory / "classifiers" / "kd" / "config.json").exists()
    assert times(run) == before
    assert same_files(run, other, "texts")
    study.forget(other)
    assert (run.directory / "texts" / "corpus.parquet").exists()
    assert list(other.directory.iterdir()) == []


def test_a_variant_of_other_texts_inherits_nothing(run, tmp_path):
    run.execute(("label", "count"))
    files = files_of(run)
    same = variant(run, settings(files), "one")
    assert same_files(run, same, "vocabulary/all")
    # The same name, now of another corpus: the links go, and nothing is written through them.
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("".join((tmp_path / "corpus.jsonl").read_text("utf-8").splitlines(True)[:200]), encoding="utf-8")
    before = times(run)
    other = variant(run, settings({**files, "corpus": str(fewer)}), "one")
    assert not (other.directory / "vocabulary" / "all").exists()
    assert same_files(run, other, "logits/train")
    other.execute(("label", "count", "distill"))
    assert not same_files(run, other, "vocabulary/all")
    assert times(run) == before


class Fake(Task):
    """A task whose inputs are those of a run."""

    def __init__(self, run: Run):
        run.check()
        self.key, self.run, self.inputs, self.directory = "fake", run, run.inputs, run.directory
        self.place = Place(run.directory, run.directory, "another")


def test_records_are_kept_by_seed_and_checked(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "DOCS", tmp_path)
    monkeypatch.setattr(records, "TASKS", ("fake",))
    fake = Fake(run)
    gold = run.inputs.part("test").targets
    given = {seed: np.where(np.arange(len(gold)) < 20 * seed, 1 - np.minimum(gold, 1), gold) for seed in (0, 1)}
    for seed, ids in given.items():
        records.keep(fake, "kd", seed, ["settings"], ids, 0.5, seconds=1.0)
    assert records.have(fake, "kd", 1, ["settings"])
    command = records.Recorded("fake").systems["kd"]["1"]["command"]
    assert command == "python -m experiments fake --systems students --seeds 1 --data DIR --teacher MODEL"
    assert not records.have(fake, "kd", 1, ["other settings"])
    assert not records.have(fake, "kd", 2, ["settings"])
    found = records.every_task()["fake"]
    assert all(np.array_equal(found.predictions[f"kd/{seed}"], ids) for seed, ids in given.items())
    assert found.mean("kd") == pytest.approx(np.mean([(ids == gold).mean() for ids in given.values()]))
    assert not found.selected  # between one there is no choice
    for seed, dev in ((0, 0.4), (1, 0.61)):  # better on dev over the seeds, not of the first
        records.keep(fake, "kd_ft", seed, ["settings"], given[0], dev)
    assert records.Recorded("fake").selected == "kd_ft"
    monkeypatch.setattr(report, "Task", lambda key, place: fake)
    assert report.check(None) == 0
    path = tmp_path / "results" / "fake.json"

    def change(system: str, seed: str, field: str, **values: object) -> None:
        """Set values of a field of a record in its file."""
        written = json.loads(path.read_text("utf-8"))
        written["systems"][system][seed][field] |= values
        path.write_text(json.dumps(written), encoding="utf-8")

    change("kd", "1", "accuracy", test=0.001)
    assert report.check(None) == 1
    records.keep(fake, "kd", 2, ["other settings"], given[0], 0.5)  # seeds of other settings are not averaged with it
    found = records.Recorded("fake")
    assert list(found.systems["kd"]) == ["2"]
    assert sorted(found.predictions) == ["kd/2", "kd_ft/0", "kd_ft/1"]
    capsys.readouterr()
    records.keep(fake, "teacher", 0, ["settings"], given[0], 0.5)
    for teacher, wrong in ((given[0], 0), (given[1], 1)):
        records.keep(fake, "kd", 2, ["other settings"], given[0], 0.5, teacher=records.fingerprint(teacher))
        assert report.check(None) == wrong
    assert "fake kd seed 2: of another teacher than the one recorded" in capsys.readouterr().err
    before = path.read_text("utf-8")
    for part, wrong in (("corpus", 1), ("train", 2)):  # a teacher is fine-tuned without the corpus
        path.write_text(before, encoding="utf-8")
        change("teacher", "0", "data", **{part: "other"})
        assert report.check(None) == wrong
        message = "fake: not of the same texts of train: teacher - kd, kd_ft" in capsys.readouterr().err
        assert message == (part == "train")
    path.write_text(before, encoding="utf-8")
    for teacher in given.values():  # a study of an earlier teacher stands by itself, but that is to be known
        records.keep_study("width", fake, {}, {"teacher": records.fingerprint(teacher)})
        assert report.check(None) == 1
        earlier = "fake width: a study of an earlier teacher" in capsys.readouterr().err
        assert earlier == (teacher is given[1])


def test_a_record_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    found = records.Recorded("fake")
    found.systems = {"kd": {"1": {"accuracy": {"test": 0.5}}, "0": {"accuracy": {"test": 0.25}}}}
    found.save()
    lines = (tmp_path / "fake.json").read_text("utf-8").splitlines()
    assert lines[3:5] == ['"0": {"accuracy": {"test": 0.25}},', '"1": {"accuracy": {"test": 0.5}}']
    assert records.Recorded("fake").accuracies("kd") == [0.25, 0.5]


def test_bags_without_some_rows(tweets):
    texts = [text for text, _ in tweets[:200]]
    whole = Vocabulary.count([texts], max_n=3)
    short = Vocabulary.count([texts], max_n=2)
    tokens = study.lengths(whole)
    ids, offsets = study.without(tokens <= 2, *whole.bags(texts))
    mine, starts = short.bags(texts)
    assert np.array_equal(offsets, starts)
    assert [whole[i] for i in ids[:500]] == [short[i] for i in mine[:500]]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("It doesn't work.", "it does n't work ."),
        ("I can’t, you cannot, he won't!", "i ca n't , you can not , he wo n't !"),
        ("They're the film's (only) stars, I'd say: we've seen them.",
         "they 're the film 's ( only ) stars , i 'd say : we 've seen them ."),
        ('A "great" film...', "a `` great '' film ..."),
        ("Mr. Smith of the U.S. is well-made", "mr. smith of the u.s. is well-made"),
    ],
)  # fmt: skip
def test_sentences_are_written_as_in_the_treebank(text, written):
    assert corpora.treebank(text) == written
    assert corpora.treebank(written.replace("``", "").replace("''", "")) == " ".join(
        word for word in written.split() if word not in ("``", "''")
    )


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not there")
def test_the_treebank_is_written_as_in_the_treebank():
    import pyarrow.parquet as pq

    texts = pq.read_table(DATA / "sst2" / "train.parquet").column("text").to_pylist()
    texts = [text for text in texts if text.strip().endswith(".")]  # of whole sentences, not phrases
    assert sum(corpora.treebank(text) == text for text in texts) > 0.97 * len(texts)


WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=6)


@given(WORDS, WORDS, st.integers(0, 99))
def test_spliced_pairs_are_the_neighbour_but_for_a_run_of_the_texts_own_words(ours, theirs, seed):
    ours, theirs = [word.upper() for word in ours], list(theirs)
    found = corpora.spliced(" ".join(ours), " ".join(theirs), np.random.default_rng(seed)).split()
    own = [i for i, word in enumerate(found) if word.isupper()]
    begin, end = (own[0], own[-1] + 1) if own else (len(found), len(found))
    assert own == list(range(begin, end))
    assert " ".join(found[begin:end]) in " ".join(ours)
    before, after = found[:begin], found[end:]
    if own:
        assert before == theirs[: len(before)]
        assert after == theirs[len(theirs) - len(after) :]
        shares = (len(before) + len(after)) / len(theirs), len(own) / len(ours)
        assert abs(sum(shares) - 1) <= 1 / len(theirs) + 1 / len(ours)  # both runs begin and end between words
    else:
        assert len(found) <= len(theirs)


def test_files_are_made_once_and_anew_of_other_files(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(corpora, "MADE", {"task": (lambda *said: made.append(said), ("source",))})
    (tmp_path / "source.parquet").write_bytes(b"one")
    for _ in range(2):
        corpora.make("task", tmp_path, "encoder", tmp_path)
    assert made == [([tmp_path / "source.parquet"], "encoder", tmp_path)]
    (tmp_path / "source.parquet").write_bytes(b"others")
    corpora.make("task", tmp_path, "encoder", tmp_path)
    assert len(made) == 2


def test_what_is_wrong_with_the_data_is_said_once(tmp_path, monkeypatch, capsys):
    from experiments import __main__ as program

    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["experiments", *words, "--runs", str(tmp_path / "runs")])
        assert program.main() == 2
        return capsys.readouterr().err

    with pytest.raises(SystemExit, match="2"):
        said("sst2", "--data", str(tmp_path / "nowhere"))
    assert f"there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
    for words, message in (
        (["nope"], "no task nope"),
        ([], "say which tasks"),
        (["mrpc", "--studies", "sizes", "ngrams"], "not for pairs: ngrams of mrpc"),
    ):
        with pytest.raises(SystemExit, match="2"):
            said(*words)
        assert message in capsys.readouterr().err
    assert said("mrpc").count("say --data DIR") == 1
    assert said("sst2", "--data", str(tmp_path)).count(f"there is no {tmp_path / 'sst2' / 'train.parquet'}") == 1


def test_the_fast_are_timed_on_texts_of_the_corpus_too(monkeypatch):
    monkeypatch.setattr(study, "SECONDS", 0.02)
    asked: dict[str, list[list[str]]] = {"slow": [], "fast": []}

    def system(name: str, pause: float) -> study.System:
        def label(texts: list[str]) -> None:
            asked[name].append(texts)
            time.sleep(pause * len(texts))

        return list, label

    texts, more = [f"{i:02}" for i in range(40)], ["of another length", *(f"{i:02}" for i in range(40, 60))]
    parts = SimpleNamespace(part=lambda name: SimpleNamespace(texts=texts))
    found = study.timed(
        SimpleNamespace(inputs=parts, texts=lambda part: more),
        {"slow": system("slow", 5e-3), "fast": system("fast", 5e-5)},
    )
    assert found["slow"]["texts"] == 16
    assert found["fast"]["texts"] > 200
    last = asked["fast"][-1]
    assert len(last) == found["fast"]["texts"]
    assert set(last) == {*texts, *more[1:]}
    assert set(last[: len(set(last))]) == set(last)  # none again before all were there once
    for name, pause in (("slow", 5e-3), ("fast", 5e-5)):
        assert len(asked[name]) >= study.TURNS + 2
        assert found[name]["texts_per_second"] <= 1 / pause
        assert found[name]["spread"] >= 0


@pytest.mark.parametrize("best", [{"epoch": 1, "lr": 0.025}, {"epoch": 200, "lr": 2.0}, {"epoch": 25, "lr": 0.5}])
def test_fasttexts_grid_grows_where_the_best_is_at_an_edge(tmp_path, monkeypatch, best):
    def score(self, settings, *_):
        return -sum(abs(np.log2(settings[name] / value)) for name, value in best.items())

    monkeypatch.setattr(baselines.FastText, "_score", score)
    labels = SimpleNamespace(name="any", key="any", split=(([], []), ([], [])))
    chosen = baselines.FastText(labels, tmp_path, None, 1).choose()
    assert {name: chosen[name] for name in best} == best


@pytest.mark.parametrize(("classes", "exact"), [(2, True), (5, False)])
def test_the_error_of_a_difference_is_that_of_resampled_texts(classes, exact):
    random, texts = np.random.default_rng(0), 800
    gold = random.integers(classes, size=texts)
    one, other = (np.where(random.random(texts) < p, gold, random.integers(classes, size=texts)) for p in (0.8, 0.6))
    right = (one == gold).astype(float) - (other == gold)
    resampled = np.std([right[random.integers(texts, size=texts)].mean() for _ in range(4000)])
    found = records.Recorded("none")
    found.systems = {
        name: {"0": {"accuracy": {"test": (ids == gold).mean()}}} for name, ids in (("kd", one), ("tfidf", other))
    }
    found.predictions = {"kd/0": one, "tfidf/0": other}
    found.studies = {"sizes": {"figures": {"tests": {"test": texts}}}}
    assert resampled * 0.96 < claims.error(found, "kd", "tfidf") < resampled * (1.04 if exact else 1.3)


@given(st.lists(WORDS, min_size=2, max_size=9), st.randoms(use_true_random=False))
def test_dev_is_whole_sentences_without_a_trace_in_train(sentences, random):
    texts = [" ".join(words) for words in sentences]
    for words in sentences:
        begin = random.randrange(len(words))
        texts.append(" ".join(words[begin : random.randrange(begin, len(words)) + 1]))
    train, dev = splits.whole_sentences(texts, 0.4)

    def within(part: str, whole: str) -> bool:
        return f" {part} " in f" {whole} "

    tops = [i for i, text in enumerate(texts) if not any(t != text and within(text, t) for t in texts)]
    assert set(dev) <= set(tops)
    assert len(dev) == round(0.4 * len(tops))
    others = [texts[i] for i in tops if i not in dev]
    assert list(train) == [i for i, text in enumerate(texts) if any(within(text, other) for other in others)]


@given(st.lists(st.sampled_from(["<br />", "it", "is", "so.", "So?!", "\n", " "])).map(" ".join), st.integers(1, 4))
def test_sentences_and_phrases_are_parts_of_their_text(text, least):
    words = text.replace("<br />", " ").split()
    assert [word for sentence in corpora.sentences(text, 1, 1000) for word in sentence.split()] == words
    for sentence in corpora.sentences(text, least, least + 1):
        assert least <= len(sentence.split()) <= least + 1
        assert all(word[-1] not in ".?!" for word in sentence.split()[:-1])
    if words:
        part = corpora.phrase(" ".join(words), np.random.default_rng(0)).split()
        assert 1 <= len(part) <= 10
        assert any(words[i : i + len(part)] == part for i in range(len(words)))


@pytest.mark.parametrize("shape", [{"kind": "lstm", "width": 6}, {"kind": "cnn", "width": 5}])
def test_networks_do_not_see_padding(tmp_path, encoder, shape):
    import torch

    from experiments import neural

    neural.new_network(encoder, tmp_path / "network", 0, num_labels=3, **shape)
    model = neural.AutoModelForSequenceClassification.from_pretrained(tmp_path / "network").eval()
    rows = [[101, 2023, 102], [101, 2023, 2003, 1037, 3231, 1997, 2068, 2035, 102]]
    padded = torch.tensor([row + [7] * (11 - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (11 - len(row)) for row in rows])
    with torch.no_grad():
        together = model(padded, mask).logits
        alone = [model(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.long)).logits[0] for row in rows]
    assert together.shape == (2, 3)
    np.testing.assert_allclose(together, torch.stack(alone), atol=1e-5)


def test_a_bilstm_layer_is_that_of_packed_sequences():
    import torch

    from experiments.neural import BothWays

    torch.manual_seed(0)
    ours, theirs = BothWays(3, 4), torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    for name, value in theirs.named_parameters():
        half = ours.back if name.endswith("_reverse") else ours.there
        getattr(half, name.removesuffix("_reverse")).data.copy_(value)
    x, lengths, places = torch.randn(5, 7, 3), torch.tensor([7, 1, 4, 2, 6]), torch.arange(7)
    mirrored = lengths[:, None] - 1 - places
    found = ours(x, torch.where(mirrored < 0, places, mirrored))
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    wanted, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    there = places < lengths[:, None]
    np.testing.assert_allclose(found[there].detach(), wanted[there].detach(), atol=1e-6)


def test_half_a_transformer_has_every_other_layer(tmp_path, encoder):
    from experiments import neural

    neural.half_of(encoder, tmp_path / "half")
    whole, half = (neural.AutoModelForSequenceClassification.from_pretrained(p) for p in (encoder, tmp_path / "half"))
    assert half.config.num_hidden_layers == 3
    for mine, theirs in zip(half.base_model.encoder.layer, whole.base_model.encoder.layer[::2]):
        for a, b in zip(mine.parameters(), theirs.parameters()):
            assert a.equal(b)


@pytest.mark.parametrize(("members", "others"), [([1, 2, 3], [2, 3, 9, 9]), ([1.0] * 3, [1.0] * 5), ([5], [1])])
def test_auc_counts_pairs(members, others):
    from sklearn.metrics import roc_auc_score

    from experiments.studies.students import auc

    truth = [1] * len(members) + [0] * len(others)
    assert auc(np.array(members), np.array(others)) == pytest.approx(
        roc_auc_score(truth, -np.array([*members, *others], float))
    )


@pytest.mark.parametrize("key", cells.TASKS)
def test_settings_of_every_task(key, tmp_path):
    found = Task(key, Place(DATA, tmp_path)).settings(distill__hidden=[3])
    assert found.distill.hidden == (3,)
    assert {"scratch", "kd_private", "kd"} == set(found.distill.modes)
    for source in (*found.data.train, *found.data.test):
        assert source.startswith((str(DATA), str(tmp_path)))


TINY = """
run = "runs/tiny"
[data]
train = "{0}/train.csv"
test = ["{0}/test.csv", "{0}/other.csv"]
corpus = "{0}/corpus.csv"
[teach]
teacher = "{1}"
max_length = 16
epochs = 12
learning_rate = 5e-3
precision = "fp32"
[label]
random_crops = 1
[count]
max_n = 2
size = 500
[distill]
modes = ["scratch", "kd_private", "kd"]
init = "teacher"
hidden = [8]
epochs = 1
threads = 1
[finetune]
epochs = 1
[compress]
max_loss = 1
"""


@pytest.fixture(scope="module")
def small_encoder(tmp_path_factory, encoder) -> str:
    """Two narrow layers with random weights under the real encoder's tokenizer."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("small") / "encoder"
    torch.manual_seed(0)
    widths = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.AutoConfig.from_pretrained(encoder, **widths, initializer_range=0.1)
    transformers.BertModel(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, tweets, small_encoder) -> Task:
    """A task of some hundred tweets, and a second test set."""
    folder, begin = tmp_path_factory.mktemp("tiny"), 0
    for name, texts in (("train", 120), ("test", 40), ("other", 20), ("corpus", 150)):
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(tweets[begin : begin + texts])
        begin += texts
    (folder / "tiny.toml").write_text(TINY.format(folder, small_encoder), encoding="utf-8")
    return Task("tweets", Place(DATA, folder / "runs", small_encoder), folder / "tiny.toml")


def torchrun(command: list[str], cwd: Path, check: bool) -> subprocess.CompletedProcess:
    """The same in processes that need not load torch."""
    python, *words = command
    begin = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "sparsedistill"]
    assert (python, words[: len(begin)], check) == (sys.executable, begin, False)
    return subprocess.CompletedProcess(command, Forked(cwd, cli.main, words[len(begin) :], processes=2).wait())


def test_every_system_and_study_from_end_to_end(tiny, tmp_path, monkeypatch):
    from experiments import __main__ as program
    from experiments import systems

    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "DOCS", tmp_path)
    monkeypatch.setattr(report, "Task", lambda key, place: tiny)
    for name in ("teacher", "students", "transformer_student", "transformer_finetuned", "bilstm_4", "cnn", "tfidf"):
        systems.SYSTEMS[name](tiny, 0)
        with monkeypatch.context() as patch:  # what was measured is not measured again
            patch.setattr(records, "keep", None)
            systems.SYSTEMS[name](tiny, 0)
    assert list(tiny.tests) == ["test", "other"]

    variants = STUDIES["architecture"].variants
    for name, fewer in {
        "architecture": {"variants": {name: variants[name] for name in ("mean", "max")}, "rates": (1e-2,), "seeds": 1},
        "budget": {"budgets": {"small": [(100, 8), (200, 4)]}, "rates": (1e-2,), "seeds": 1},
        "width": {"widths": (0, 4), "seeds": (0,), "head": ("", "0", "4")},
        "ngrams": {"seeds": (0,)},
        "corpus_size": {"shares": (0.3, 1.0), "seeds": (0,), "head": ("", "30 %", "100 %")},
        "adaptation": {"targets": {"tweets": "tweets"}, "rates": (1e-3,)},
        "speed": {"baselines": ("tfidf",)},
    }.items():
        for field, value in fewer.items():
            assert hasattr(STUDIES[name], field)
            monkeypatch.setattr(STUDIES[name], field, value, raising=False)
    monkeypatch.setattr(study, "SECONDS", 0.05)
    monkeypatch.setattr(subprocess, "run", torchrun)
    for name in STUDIES:
        program.study(tiny, name)

    found = records.every_task()["tweets"]
    measured = {name: record["figures"] for name, record in found.studies.items()}
    assert set(measured) == set(STUDIES)
    wanted = {"teacher", "scratch", "kd_private", "kd", "kd_ft", "transformer_student", "cnn", "tfidf"}
    assert wanted <= set(found.systems)
    assert measured["corpus_size"]["1"]["0"]["kd"]["accuracy"]["test"] == pytest.approx(found.mean("kd"), abs=0.2)
    whole = measured["pruning"]["train"][0][1]["test"]  # all n-grams, unquantised
    assert whole == pytest.approx(found.mean(found.selected), abs=0.05)
    assert measured["columns"]["agreement"] > 0.9
    assert found.test_texts == 40
    assert len(set(found.predictions["teacher/0"])) > 1  # or all of it would be true of nothing
    kept = [found.predictions[f"{name}/0"][:40] for name in ("teacher", "tfidf")]
    assert found.disagreement("teacher", "tfidf") == (kept[0] != kept[1]).mean()
    assert {path.name for path in (tiny.directory / "variants" / "width-4-0").iterdir()} == {"figures.json"}
    with monkeypatch.context() as patch:  # nor are the figures of variants that were forgotten
        patch.setattr(study, "_figures", None)
        assert measured["budget"] == STUDIES["budget"].measure(tiny)

    report.write({"tweets": found})
    page = (tmp_path / "results.md").read_text("utf-8")
    assert page.count("\n## ") == 3 + len(STUDIES)
    pictures = [name for name in STUDIES if f"results/{name}.svg" in page]
    assert len(pictures) == 4
    for name in pictures:
        svg = (tmp_path / "results" / f"{name}.svg").read_text("utf-8")
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert svg == report.picture({"tweets": found}, name)
    assert found.as_json()["accuracy"]["test"]["kd"] == found.mean("kd")
    assert report.check(None) == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not there")
def test_every_figure_is_what_the_kept_predictions_give(tmp_path):
    assert report.check(Place(DATA, tmp_path)) == 0
