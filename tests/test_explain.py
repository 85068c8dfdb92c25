"""Explanations: sums, spans, groups, and what they look like."""

import html.parser
import re
import sys

import numpy as np
import pytest
from conftest import ROOT, TEXTS, make_parts
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier
from sparsedistill.explain import attribution
from sparsedistill.explained import shades
from sparsedistill.pooling import POOLINGS
from sparsedistill.student.vocabulary import Vocabulary

sys.path.append(str(ROOT / "benchmarks"))
import explain as benchmark

NASTY = "NOT\u00ad bad at ALL, \ud800 caf\u0065\u0301: it was <b>good</b> & not\nbad"


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", benchmark.KINDS)
def test_contributions_and_bias_sum_to_the_logit(kind, pooling):
    assert benchmark.explain_error(count=30, kinds=[kind], poolings=[pooling])["explain_error"] < 5e-5


def test_the_benchmark_sees_what_does_not_sum(monkeypatch):
    found = attribution
    monkeypatch.setattr("sparsedistill.explain.attribution", lambda *given: _without_bias(found(*given)))
    assert benchmark.explain_error(count=4, kinds=["multi"], poolings=["mean"])["explain_error"] > 1e-3


def _without_bias(found):
    object.__setattr__(found, "constant", found.constant * 0)
    return found


def test_a_linear_student_gets_its_weights():
    config, tensors = make_parts(task="multi", depth=0, row_type="float32")
    config["pooling"] = "sum"
    classifier = Classifier(config, tensors)
    rows = dict(classifier._lookup.ngrams(TEXTS[0]))
    for one in classifier.explain(TEXTS[0], "label 1", None).evidence:
        weight = float(tensors["rows"][rows[one.ngram], 1])
        assert [place.contribution for place in one.spans] == pytest.approx([weight] * len(one.spans))
    assert classifier.explain("unheard-of words", "label 1").contributions == []  # dummy: what has no row adds nothing


@pytest.mark.parametrize("grouped", [False, True])
@settings(max_examples=50, deadline=None)
@given(pieces=st.lists(st.sampled_from([*TEXTS, NASTY, "\U0001f600", "e\u0301", "\ud800", "\u00ad", " "]), max_size=5))
def test_spans_are_of_the_str_and_of_its_bytes(classifier, grouped, pieces):
    text = "".join(pieces)
    why = classifier.explain(text, top=None, grouped=grouped)
    data = text.encode("utf-8", "surrogatepass")
    assert why.texts == (text,)
    assert [(one.ngram, one.contribution) for one in why.evidence] == why.contributions
    for one in why.evidence:
        assert sum(place.contribution for place in one.spans) == pytest.approx(one.contribution)
        for place in one.spans:
            of_bytes = data[place.byte_start : place.byte_end].decode("utf-8", "surrogatepass")
            assert text[place.start : place.end] == of_bytes != ""
            if not grouped:
                assert one.ngram in [ngram for ngram, _ in classifier._lookup.ngrams(of_bytes)]
    assert sum(number for _, number in why.contributions) + why.bias == pytest.approx(why.logit, abs=1e-5)


def test_groups_keep_the_total_and_overlap_their_leader(classifier):
    text = TEXTS[0] + " " + NASTY
    alone, grouped = (classifier.explain(text, top=None, grouped=grouped) for grouped in (False, True))
    assert sum(n for _, n in grouped.contributions) == pytest.approx(sum(n for _, n in alone.contributions))
    members: dict[str, float] = {}
    for one in grouped.evidence:
        assert sum(number for _, number in one.members) == pytest.approx(one.contribution)
        assert one.ngram in dict(one.members)
        for ngram, number in one.members:
            members[ngram] = members.get(ngram, 0) + number
    assert members == pytest.approx(dict(alone.contributions))
    assert len(grouped.evidence) < len(alone.evidence) / 2
    # What leads the first group is the largest of all, and no leader overlaps it anywhere.
    assert grouped.evidence and alone.contributions[0][0] in [one.ngram for one in grouped.evidence]
    leaders = {one.ngram: one for one in alone.evidence}
    first = leaders[alone.contributions[0][0]]
    ranges = [range(place.start, place.end) for place in first.spans]
    group = next(one for one in grouped.evidence if one.ngram == first.ngram)
    assert [place.start <= r.start and place.end >= r.stop for place, r in zip(group.spans, ranges, strict=True)]


def test_pairs_say_which_text(tmp_path):
    vocabulary = Vocabulary.count([TEXTS], tokenizer="words", max_n=2)
    classifier = benchmark.random_classifier(vocabulary, "single", "mean", pairs=True)
    why = classifier.explain((TEXTS[0], "not a film"), top=None)
    for one in why.evidence:
        second = one.ngram.startswith("second: ")
        assert all(place.second == second and place.end <= len(why.texts[second]) for place in one.spans)
        assert second or one.ngram.startswith("first: ")
    assert why.texts == (TEXTS[0], "not a film")
    assert why.html().count('<p class="text"') == 2


def test_shades_are_the_sums_of_what_covers_a_character(classifier):
    why = classifier.explain(NASTY, top=2)
    expected = np.zeros(len(NASTY))
    for one in why.evidence:
        for place in one.spans:
            expected[place.start : place.end] += place.contribution
    assert shades(why)[0] == pytest.approx(expected, abs=1e-12)
    assert np.abs(expected).max() > 0


class Text(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.stack, self.found = [], []

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.found.append((self.stack[-1] if self.stack else "", data))


@pytest.mark.parametrize("grouped", [False, True])
def test_html_is_whole_and_escaped(classifier, grouped):
    nasty = NASTY + ' </p><script>alert("x")</script> \x1b[31m \u202e \x00 not good'
    page = classifier.explain(nasty, top=None, grouped=grouped).html()
    page.encode()  # no lone surrogate is left
    reader = Text()
    reader.feed(page)
    assert reader.stack == []
    assert "<script>" not in page and "http" not in page
    assert not set("\x1b\u202e\x00") & set(page)
    shown = "".join(data for tag, data in reader.found if tag in ("p", "span"))
    assert nasty.replace("\ud800", "\ufffd").split(" \x1b")[0] in shown
    assert "prefers" in page or "color-scheme: light dark" in page
    assert 'class="for l3"' in page or 'class="against l3"' in page


def test_ansi_with_and_without_colour(classifier, monkeypatch, capsys):
    why = classifier.explain(NASTY + "\x1b[2J", top=3)
    coloured, plain = why.ansi(True), why.ansi(False)
    assert "\x1b[" in coloured and "\x1b" not in plain and "[2J" in plain
    text = NASTY.replace("\ud800", "\ufffd") + "\ufffd[2J"
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).startswith(text)
    assert re.sub(r"\[[+-]|[+-]\]", "", plain).startswith(text)
    assert plain.count("\n") == NASTY.count("\n") + 1 + 3 + 3  # the text, three n-grams, more, bias, sum
    assert why.ansi() == plain  # captured stdout is no terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert why.ansi() == coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert why.ansi() == plain


def test_a_text_without_known_ngrams_is_not_shaded(classifier):
    why = classifier.explain("zzz \u00ad")
    assert why.evidence == () and why.ansi(True).startswith("zzz \u00ad\n")
    assert 'class="for l1' not in why.html()
    assert classifier.explain("").ansi(False).splitlines()[0] == ""
