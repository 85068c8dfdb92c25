"""The paper's other students, in torch: half of the teacher's layers, BiLSTMs, a CNN.

They are models of the transformers library, so that what fine-tunes and asks a teacher trains, stops, resumes and asks
them too, with its tokens, its batches of like length and its choice of precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging

logging.set_verbosity_error()  # it tells at length that an encoder has no head
logging.disable_progress_bar()


class NetworkConfig(PretrainedConfig):
    """Of either network: ``kind`` lstm or cnn, ``width`` of a layer (a direction), ``depth`` layers, ``embedding``."""

    model_type = "sparsedistill-experiment"

    def __init__(
        self,
        kind: str = "lstm",
        width: int = 64,
        depth: int = 2,
        embedding: int = 384,
        vocab_size: int = 1,
        dropout: float = 0.1,
        **rest: Any,
    ):
        self.kind, self.width, self.depth, self.embedding = kind, width, depth, embedding
        self.vocab_size, self.dropout = vocab_size, dropout
        super().__init__(**rest)


class Network(PreTrainedModel):
    """Token embeddings; a BiLSTM, or one convolution over seven tokens; the largest of each number; a linear layer.

    The recurrent layers are those of Hochreiter and Schmidhuber (1997) in both directions, the convolution that of
    Kim (2014).
    """

    config_class = NetworkConfig

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        self.table = nn.Embedding(config.vocab_size, config.embedding)
        self.dropout = nn.Dropout(config.dropout)
        if config.kind == "lstm":
            self.body: nn.Module = nn.LSTM(
                config.embedding, config.width, config.depth, batch_first=True, bidirectional=True
            )
            outputs = 2 * config.width
        else:
            self.body, outputs = nn.Conv1d(config.embedding, config.width, 7, padding=3), config.width
        self.head = nn.Linear(outputs, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Torch's own: they are what the layers begin with."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits (n, C) of ids and mask (n, t); where a pair's halves are apart, their separator says."""
        x, there = self.dropout(self.table(input_ids)), attention_mask.bool()
        if self.config.kind == "lstm":
            lengths = attention_mask.sum(1).cpu()
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            x, _ = nn.utils.rnn.pad_packed_sequence(self.body(packed)[0], batch_first=True, total_length=x.shape[1])
        else:
            x = torch.relu(self.body((x * there[:, :, None]).transpose(1, 2)).transpose(1, 2))
        pooled = x.masked_fill(~there[:, :, None], -torch.inf).amax(1)
        return SequenceClassifierOutput(logits=self.head(self.dropout(pooled)))


AutoConfig.register(NetworkConfig.model_type, NetworkConfig)
AutoModelForSequenceClassification.register(NetworkConfig, Network)


def new_network(encoder: str | Path, directory: Path, seed: int, **shape: Any) -> None:
    """Write an untrained network to ``directory`` that has the encoder's tokens and begins with its embeddings."""
    table = AutoModelForSequenceClassification.from_pretrained(encoder).get_input_embeddings().weight
    torch.manual_seed(seed)
    model = Network(NetworkConfig(vocab_size=table.shape[0], embedding=table.shape[1], **shape))
    with torch.no_grad():
        # Of about unit size, which recurrent layers want; an encoder's have a norm behind them.
        model.table.weight.copy_(table / table.std())
    _save(model, encoder, directory)


def half_of(encoder: str | Path, directory: Path, seed: int = 0) -> None:
    """Write every other layer of a transformer to ``directory``, as Sanh et al. (2019) begin DistilBERT."""
    torch.manual_seed(seed)  # of the head, where there is none
    model = AutoModelForSequenceClassification.from_pretrained(encoder)
    body = model.base_model.encoder
    body.layer = nn.ModuleList(body.layer[::2])
    model.config.num_hidden_layers = len(body.layer)
    _save(model, encoder, directory)


def with_head(encoder: str | Path, directory: Path) -> None:
    """Write an encoder with an untrained head to ``directory``."""
    _save(AutoModelForSequenceClassification.from_pretrained(encoder), encoder, directory)


def _save(model: PreTrainedModel, encoder: str | Path, directory: Path) -> None:
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(directory)
