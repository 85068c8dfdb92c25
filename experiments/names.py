"""What systems and tasks are called where people read of them."""

from __future__ import annotations

SYSTEMS = {
    "teacher": "teacher",
    "scratch": "DAN from scratch",
    "kd_private": "DAN KD†",
    "kd": "DAN KD",
    "kd_ft": "DAN KD+FT",
    "transformer_student": "half the teacher's layers, distilled",
    "transformer_finetuned": "half the encoder's layers, fine-tuned",
    "bilstm": "BiLSTM 2 x 512, distilled",
    "bilstm_256": "BiLSTM 2 x 256, distilled",
    "bilstm_64": "BiLSTM 2 x 64, distilled",
    "bilstm_4": "BiLSTM 2 x 4, distilled",
    "cnn": "CNN of width 7, distilled",
    "fasttext": "fastText",
    "tfidf": "TF-IDF + logistic regression",
    "model2vec": "model2vec",
}
TITLES = {
    "imdb": "IMDB",
    "sst2": "SST-2",
    "trec6": "TREC-6",
    "trec50": "TREC-50",
    "agnews": "AG News",
    "tweets": "tweets",
    "wikitoxic": "Wiki Toxic",
    "mrpc": "MRPC",
    "civil": "Civil Comments",
    "qqp": "QQP",
}
