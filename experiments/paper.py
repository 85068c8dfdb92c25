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
    "civil": {"teacher": 0.963, "scratch": 0.957, "kd_private": 0.962, "kd": 0.963, "kd_ft": 0.963,
              "transformer_finetuned": 0.969},
    "qqp": {"teacher": 0.921, "scratch": 0.820, "kd_private": 0.632, "kd": 0.841, "kd_ft": 0.842,
            "transformer_finetuned": 0.894},
}  # fmt: skip
# Its texts: train, dev and corpus.
TEXTS = {
    "imdb": ("25,000", "25,000", "75M"), "sst2": ("67,349", "872", "75M"), "trec50": ("5,452", "500", "65M"),
    "agnews": ("120,000", "7,600", "418M"), "civil": ("1,804,874", "97,320", "60M"),
    "qqp": ("363,846", "40,430", "10M"),
}  # fmt: skip
# What a student is to keep of its teacher's accuracy: more than the paper's of the same task. Of trec6 it has none, so
# trec50's is taken; of the tweets neither, and the average is a target of this project's own, above the paper's 97 %.
SHARES = {"imdb": 0.971, "sst2": 0.920, "trec6": 0.977, "trec50": 0.977, "agnews": 0.975, "tweets": 0.960}
SHARE = 0.975  # on average
GOAL, GOAL_OF_EACH = 0.985, 0.97  # on average and on each task: more than is asked

# Texts a second on 56 cores, batches of 32, tokenisation left out.
SPEED = {
    "IMDB": {"teacher": 1.4, "kd_ft": 923, "transformer_student": 7.8, "transformer_finetuned": 10.7, "bilstm": 31,
             "bilstm_256": 52, "bilstm_64": 101, "bilstm_4": 146, "cnn": 251},
    "SST-2": {"teacher": 22, "kd_ft": 16479, "transformer_student": 186, "transformer_finetuned": 61, "bilstm": 394,
              "bilstm_256": 679, "bilstm_64": 1379, "bilstm_4": 2015, "cnn": 3820},
}  # fmt: skip
# The studies, in percent: of the KD student of IMDB where nothing else is said.
ARCHITECTURE = {"mean": 93.2, "sum": 92.9, "max": 91.8, "attentive": 93.0, "hidden 256": 93.1, "hidden 256, 64": 93.0,
                "from the teacher": 93.2}  # fmt: skip
BUDGETS = {
    "500M": [("1M", 500, 93.0), ("2M", 250, 92.8), ("4M", 125, 92.7), ("10M", 50, 92.3)],
    "1B": [("1M", 1000, 93.2), ("2M", 500, 93.0), ("4M", 250, 92.9), ("10M", 100, 92.5), ("40M", 25, 92.0)],
    "2B": [("2M", 900, 93.1), ("4M", 500, 93.1), ("10M", 200, 92.9), ("40M", 50, 92.4)],
}
NGRAMS = {"IMDB (KD+FT)": (74.9, 92.1, 93.3, 93.5), "AG News (KD+FT)": (91.3, 92.9, 93.0, 93.0)}  # n up to 1, 2, 3, 4
ADAPTATION = {"IMDB → SST-2": (90.0, 81.9, 88.4, 86.7), "SST-2 → IMDB": (94.1, 92.0, 93.0, 92.8)}
