"""The paper's other students, in torch: half of the teacher's layers, BiLSTMs, a CNN.

They are models of the transformers library, so that what fine-tunes and asks a teacher trains, stops, resumes and asks
them too, with its tokens, its batches of like length and its choice of precision.
"""

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
    kind, width, depth, embedding, vocab_size, dropout = "lstm", 64, 2, 384, 1, 0.1


class BothWays(nn.Module):
    """A bidirectional LSTM layer that begins backwards at the end of each text, not of its padding.

    What torch makes of packed sequences, at up to twice the speed: packed, it works token by token.
    """

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.there, self.back = (nn.LSTM(inputs, width, batch_first=True) for _ in range(2))

    def forward(self, x: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """(n, t, 2 width) of ``x`` (n, t, inputs); ``mirrored`` (n, t): the place as far from its text's end."""
        index = mirrored[:, :, None]
        back = self.back(torch.take_along_dim(x, index, 1))[0]
        return torch.cat([self.there(x)[0], torch.take_along_dim(back, index, 1)], -1)


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
            outputs = 2 * config.width
            inputs = [config.embedding] + [outputs] * (config.depth - 1)
            self.body: nn.Module = nn.ModuleList(BothWays(size, config.width) for size in inputs)
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
            places = torch.arange(x.shape[1], device=x.device)
            mirrored = attention_mask.sum(1, keepdim=True) - 1 - places
            mirrored = torch.where(mirrored < 0, places, mirrored)
            for layer in self.body:
                x = layer(x, mirrored)
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
