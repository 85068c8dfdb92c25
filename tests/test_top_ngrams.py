"""N-grams that argue for each label, over texts and of a vocabulary; two classifiers compared."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import TEXTS, make_parts

from sparsedistill import Classifier, SettingsError
from sparsedistill.compare import compare
from sparsedistill.student.vocabulary import Vocabulary
from sparsedistill.top_ngrams import top_ngrams, top_of_vocabulary

HEADS = {"topic": ("single", 3), "flags": ("multi", 2), "stars": ("regression", 1)}
VOCABULARY = Vocabulary.count([TEXTS], tokenizer="words", max_n=3)
NGRAMS = [VOCABULARY[i] for i in range(len(VOCABULARY))]


def run(*arguments, **more):
    command = [sys.executable, "-m", "sparsedistill", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **more)


def made(seed=0, **given):
    return Classifier(*make_parts(seed=seed, **given))


def rows_of(found):
    return {row["ngram"]: row for sides in (found["for"], found["against"]) for row in sides} | {
        ngram: {"total": total} for sides in found.values() for row in sides for ngram, total in row["members"]
    }


def test_totals_over_texts_are_the_sums_of_explanations():
    classifier = made(heads=HEADS)
    found = top_ngrams(classifier, TEXTS, top=1000)
    assert list(found) == list(HEADS)
    for name, labels in found.items():
        for label, sides in labels.items():
            sums: dict[str, float] = {}
            for text in TEXTS:
                for ngram, number in classifier.explain(text, label, None, name).contributions:
                    sums[ngram] = sums.get(ngram, 0.0) + number
            got = {ngram: row["total"] for ngram, row in rows_of(sides).items()}
            assert got == pytest.approx({ngram: number for ngram, number in sums.items() if number}, abs=1e-9)
            for side, sign in (("for", 1), ("against", -1)):
                totals = [sign * row["total"] for row in sides[side]]
                assert totals == sorted(totals, reverse=True) and min(totals, default=1) > 0
                assert all(row["mean"] * row["count"] == pytest.approx(row["total"]) for row in sides[side])


def test_near_duplicates_are_members_of_what_ranks_above():
    found = top_ngrams(made(), TEXTS, top=5)[""]["label 0"]["for"]
    assert len(found) <= 5 and any(row["members"] for row in found)
    for row in found:
        for ngram, total in row["members"]:
            assert f" {row['ngram']} " in f" {ngram} " or f" {ngram} " in f" {row['ngram']} "
            assert abs(total) <= abs(row["total"])


def test_rare_ngrams_are_left_out():
    found = top_ngrams(made(), TEXTS, min_count=3, top=1000)[""]
    assert found["label 0"]["for"]
    assert all(row["count"] >= 3 for label in found.values() for side in label.values() for row in side)


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("row_type", ["int8", "slots"])
def test_of_a_vocabulary_it_is_the_change_of_the_logit(depth, row_type):
    classifier = (
        made(task="multi", depth=depth, row_type=row_type, labels=3) if row_type == "int8" or depth == 0 else None
    )
    if classifier is None:
        pytest.skip("rows of the table's slots are as wide as the outputs")
    words = [ngram for ngram in NGRAMS if " " not in ngram]  # whose texts have no other n-gram
    found = top_of_vocabulary(classifier, [*words, "unheard-of"], [2] * (len(words) + 1), top=1000)[""]
    empty = classifier.decision_function("")
    assert "unheard-of" not in rows_of(found["label 0"])
    for i, label in enumerate(classifier.labels):
        for ngram, row in rows_of(found[label]).items():
            change = classifier.decision_function(ngram)[i] - empty[i]
            assert row["total"] == pytest.approx(2 * float(change), abs=1e-4)


def test_of_a_vocabulary_it_refuses_what_has_no_ngrams_of_its_own():
    with pytest.raises(SettingsError, match="give texts instead"):
        classifier = made()
        object.__setattr__(classifier, "pairs", True)
        top_of_vocabulary(classifier, NGRAMS, [1] * len(NGRAMS))


def test_a_classifier_does_not_differ_from_itself():
    classifier = made(heads=HEADS)
    found = compare(classifier, classifier, TEXTS)
    for name, head in found["heads"].items():
        assert (head["agreement"], head["flips"], head["change"]) == (None if name == "stars" else 1.0, 0, 0)
        assert head["texts"] == [] and head["ngrams"] == []


def test_flips_and_who_is_right():
    a, b = made(0), made(1)
    gold = np.array([a.labels.index(label) for label in b.predict(TEXTS)])
    found = compare(a, b, TEXTS, gold={"": gold}, top=100)["heads"][""]
    flipped = [i for i, (x, y) in enumerate(zip(a.predict(TEXTS), b.predict(TEXTS), strict=True)) if x != y]
    assert flipped and found["flips"] == len(flipped)
    assert found["agreement"] == pytest.approx(1 - len(flipped) / len(TEXTS))
    assert found["right"] == {"a": 0, "b": len(flipped)}
    rows = found["texts"]
    assert {row["number"] for row in rows[: len(flipped)]} == set(flipped)
    for row in rows:
        text = TEXTS[row["number"]]
        assert (row["text"], row["a"], row["b"]) == (text, a.predict(text), b.predict(text))
        assert row["change"] == pytest.approx(np.abs(a.predict_proba(text) - b.predict_proba(text)).max())
        assert row["right"] == ("both" if row["a"] == row["b"] else "b") and row["gold"] == row["b"]
    changes = [row["change"] for row in rows[: len(flipped)]]
    assert changes == sorted(changes, reverse=True)


def test_pulls_and_biases_sum_to_what_the_decisions_moved_by():
    a, b = made(0), made(1)
    texts = [text for text in TEXTS if a.predict(text) != b.predict(text)][:1]
    found = compare(a, b, texts, top=10_000)["heads"][""]["ngrams"]
    pulls = {}
    for sign, one in ((-1, a), (1, b)):
        for way, label in ((1, b.predict(texts[0])), (-1, a.predict(texts[0]))):
            for ngram, number in one.explain(texts[0], label, None).contributions:
                pulls[ngram] = pulls.get(ngram, 0) + sign * way * number
    assert {row["ngram"]: row["pull"] for row in found} == pytest.approx({n: p for n, p in pulls.items() if p > 0})
    assert {row["known"] for row in found} == {"both"}


@pytest.mark.parametrize("task", ["single", "multi"])
def test_labels_in_another_order_are_compared_by_name(task):
    config, tensors = make_parts(task=task, seed=3)
    turned = {**config, "labels": config["labels"][::-1]}
    if task == "multi":
        turned["thresholds"] = config["thresholds"][::-1]
    again = dict(tensors)
    for name in ("layers.0.weight", "layers.0.bias"):
        again[name] = np.ascontiguousarray(tensors[name][..., ::-1])
    found = compare(Classifier(config, tensors), Classifier(turned, again), TEXTS)["heads"][""]
    assert found["flips"] == 0 and found["change"] == pytest.approx(0, abs=1e-9)
    other = made(1, task=task)
    results = [
        compare(other, one, TEXTS)["heads"][""]["ngrams"] for one in (made(3, task=task), Classifier(turned, again))
    ]
    assert [row["ngram"] for row in results[0]] == [row["ngram"] for row in results[1]] != []


def test_multi_label_and_scores_are_compared():
    a, b = made(0, heads=HEADS), made(1, heads=HEADS)
    found = compare(a, b, TEXTS, gold={"stars": b.predict(TEXTS, head="stars")})["heads"]
    flags = found["flags"]
    assert flags["flips"] == sum(x != y for x, y in zip(a.predict(TEXTS, head="flags"), b.predict(TEXTS, head="flags")))
    assert all(isinstance(row["a"], list) for row in flags["texts"]) and flags["ngrams"]
    assert found["stars"]["agreement"] is None and found["stars"]["right"] == {"a": 0, "b": len(TEXTS)}
    assert found["stars"]["change"] > 0 and found["stars"]["ngrams"]


def test_compare_refuses_other_labels():
    with pytest.raises(SettingsError, match="same labels"):
        compare(made(), made(labels=4), TEXTS)
    with pytest.raises(SettingsError, match="no such head"):
        compare(made(heads=HEADS), made(), TEXTS)
    with pytest.raises(SettingsError, match="--head"):
        compare(made(), made(), TEXTS, head="x")


def test_commands(tmp_path):
    a, b = made(0), made(1)
    a.save(tmp_path / "a")
    b.save(tmp_path / "b")
    made(2, labels=4).save(tmp_path / "other")
    VOCABULARY.save(tmp_path / "vocabulary")
    lines = [json.dumps({"text": text, "label": a.predict(text)}) for text in TEXTS]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    done = run("explain", tmp_path / "a", TEXTS[0], "--top", 2, "--grouped")
    assert done.returncode == 0 and a.predict(TEXTS[0]) in done.stdout and "in all" in done.stdout
    assert "\x1b" not in done.stdout
    done = run("explain", tmp_path / "a", "--html", tmp_path / "why.html", input="not good\nfilm\n")
    assert done.returncode == 0 and (tmp_path / "why.html").read_text().count("<section>") == 2
    done = run("explain", tmp_path / "a", "--texts", tmp_path / "texts.jsonl", "--json", tmp_path / "n.json")
    assert done.returncode == 0 and "for label 0" in done.stdout, done.stderr
    assert json.loads((tmp_path / "n.json").read_text())["heads"][""]["label 1"]["for"]
    done = run("explain", tmp_path / "a", "--ngrams", tmp_path, "--label", "label 1")
    assert done.returncode == 0 and "for label 1" in done.stdout and "label 0" not in done.stdout, done.stderr
    for wrong, message in (
        (["x", "--texts", "f"], "give one of TEXT"),
        (["x", "--label", "z"], "no label 'z'"),
        (["x", "--head", "z"], "no such head"),
        (["--texts", "f", "--html", "g"], "--html is of texts"),
        (["--ngrams", tmp_path / "a"], "neither a run directory"),
    ):
        done = run("explain", tmp_path / "a", *wrong)
        assert done.returncode == 2 and message in done.stderr
    files = [tmp_path / "a", tmp_path / "b", tmp_path / "texts.jsonl"]
    done = run("diff", *files, "--label", "label", "--json", tmp_path / "d.json")
    assert done.returncode == 0 and "get the same decision" in done.stdout, done.stderr
    found = json.loads((tmp_path / "d.json").read_text())["heads"][""]
    assert found["right"]["b"] == 0 < found["right"]["a"] == found["flips"]
    done = run("diff", tmp_path / "a", tmp_path / "other", tmp_path / "texts.jsonl")
    assert done.returncode == 2 and "same labels" in done.stderr
