"""Models and tokenizers of Hugging Face: loaded, saved, and told apart."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import SettingsError, require
from .batching import clean, probe

STANDARD = "sparsedistill_standard"  # in a model's config: mean and scale of its scores, where no layer can hold them


def class_names(path: str) -> tuple[str, ...]:
    """Label names of a Hugging Face sequence classifier, in the order of its classes.

    Errors: :class:`SettingsError` when its configuration cannot be read.
    """
    transformers = require("transformers", "teacher")
    local, missing = _local(path)
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=local)
    except (OSError, ValueError) as error:
        if missing:
            raise SettingsError(f"the teacher {path} cannot be loaded: {missing}") from None
        raise SettingsError(
            f"the teacher {path} has no configuration to read its labels from ({clean(str(error))}), give labels"
        ) from None
    return tuple(str(config.id2label[i]) for i in range(config.num_labels))


def output_layer(torch: Any, model: Any) -> Any:
    """The linear layer with a bias that makes a model's only output; None where there is no such layer."""
    dropouts = [
        m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 1 and m.bias is not None
    ]
    if not dropouts:
        return None
    training, head = model.training, dropouts[-1]
    bias, inputs = head.bias.detach().clone(), probe(torch, model, "cpu", 1, 8)
    model.eval()
    with torch.no_grad():
        head.bias.zero_()
        before = model(**inputs).logits.float()
        head.bias.fill_(16.0)
        moved = model(**inputs).logits.float() - before
        head.bias.copy_(bias)
    model.train(training)
    return head if torch.allclose(moved, torch.full_like(moved, 16.0), atol=1e-3) else None


def rescale(head: Any, scale: float, offset: float) -> None:
    """Make a linear layer give ``scale`` times what it gave, and ``offset`` more."""
    head.weight.data = (head.weight.data.double() * scale).to(head.weight.dtype)
    head.bias.data = (head.bias.data.double() * scale + offset).to(head.bias.dtype)


def load(path: str, **options: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Tokenizer, fp32 model on the CPU, and what its loading had to make up."""
    torch, transformers = require("torch", "teacher"), require("transformers", "teacher")
    folder = Path(path).is_dir()
    if not folder and (Path(path).is_absolute() or path.startswith(".") or path.count("/") > 1):
        raise SettingsError(f"the teacher {path} is not a folder, check the path")
    local, missing = _local(path)
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=local)
            model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                path,
                local_files_only=local,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
            )
    except Exception as error:  # a missing, foreign or damaged file fails in many ways, all of which mean the same
        if missing:
            raise SettingsError(f"the teacher {path} cannot be loaded: {missing}") from error
        reason = " ".join(str(error).split("\n")[0].split())
        remedy = (
            "it should hold config.json, weights and a tokenizer, as save_pretrained writes them"
            if folder
            else "give the path of a folder with its model, or check its hub id and the network"
        )
        raise SettingsError(f"the teacher {path} cannot be loaded ({reason}), {remedy}") from error
    # Without its files the library makes a tokenizer that knows nothing but special tokens.
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise SettingsError(f"the teacher {path} has no tokenizer, save its tokenizer beside the model")
    return tokenizer, model, info


def _local(path: str) -> tuple[bool, str]:
    """Whether a model's files can come from the disk alone; and, where that is for lack of the hub, what to do then.

    The libraries would ask a hub that does not answer a dozen times for each file.
    """
    if Path(path).is_dir():
        return True, ""
    hub, errors = require("huggingface_hub", "teacher"), require("huggingface_hub.errors", "teacher")
    try:
        hub.get_hf_file_metadata(hub.hf_hub_url(path, "config.json"), timeout=10)
    except (errors.HfHubHTTPError, errors.HFValidationError):
        return False, ""  # it has answered, and will say what is wrong
    except Exception as error:
        return True, (
            "there is no such folder, it was not downloaded before, and the hub cannot be reached "
            f"({clean(str(error)).split(chr(10))[0]}); check the path, or its hub id and the network"
        )
    return False, ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's reports and bars, and leave its settings as they were."""
    logging = require("transformers", "teacher").utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def save(tokenizer: Any, model: Any, directory: Path) -> None:
    """Write both to a directory, under a temporary name first."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".tmp", dir=directory.parent))
    try:
        with _quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        if directory.exists():
            # Not one rename, for the folder holds other files; the caller's last file marks it whole.
            for file in temporary.iterdir():
                os.replace(file, directory / file.name)
        else:
            temporary.chmod(0o755)  # mkdtemp's is private
            os.rename(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def digest(tokenizer: Any, model: Any, limit: int) -> str:
    """Of all that decides the logits: configuration, weights, tokenizer, and the length texts are cut to."""
    state = hashlib.blake2b(digest_size=8)
    config = model.config.to_dict()
    for name in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):
        config.pop(name, None)
    words = (
        tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else json.dumps(sorted(tokenizer.get_vocab().items()))
    )
    state.update(json.dumps([config, words, limit], sort_keys=True, default=str).encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy())
    return state.hexdigest()
