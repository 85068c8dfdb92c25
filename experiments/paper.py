"""Accuracies of the paper (Ye et al., NAACL 2022) on its dev sets, in 0..1, beside ours; studies have theirs."""

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
