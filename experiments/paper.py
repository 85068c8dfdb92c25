"""Figures of the paper (Ye et al., NAACL 2022), to stand beside ours. Accuracies in 0..1, on its dev sets."""

from __future__ import annotations

SYSTEMS = {
    "imdb": {"teacher": 0.963, "scratch": 0.883, "kd_private": 0.920, "kd": 0.932, "kd_ft": 0.935,
             "transformer_student": 0.959, "transformer_finetuned": 0.922, "bilstm": 0.959, "bilstm_256": 0.958,
             "bilstm_64": 0.940, "bilstm_4": 0.931, "cnn": 0.892},
    "sst2": {"teacher": 0.962, "scratch": 0.795, "kd_private": 0.870, "kd": 0.864, "kd_ft": 0.885,
             "transformer_finetuned": 0.908},
    "trec50": {"teacher": 0.948, "scratch": 0.784, "kd_private": 0.918, "kd": 0.918, "kd_ft": 0.926,
               "transformer_finetuned": 0.928},
    "agnews": {"teacher": 0.954, "scratch": 0.911, "kd_private": 0.900, "kd": 0.906, "kd_ft": 0.930,
               "transformer_finetuned": 0.945},
}  # fmt: skip
# What a student is to keep of its teacher's accuracy: more than the paper's of the same task. Of trec6 it has none, so
# trec50's is taken; of the tweets neither, and the average is a target of this project's own, above the paper's 97 %.
SHARES = {"imdb": 0.971, "sst2": 0.920, "trec6": 0.977, "trec50": 0.977, "agnews": 0.975, "tweets": 0.960}
SHARE = 0.975  # on average
