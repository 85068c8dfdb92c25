"""How text becomes tokens and n-grams: the rules of docs/FORMAT.md, "Text", which the core follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHARACTERS = ("none", "unknown", "all")
MOST_CHARACTERS = 16  # code points of a character n-gram
_OF_CHARACTERS = ("characters", "characters_min", "characters_max")


@dataclass(frozen=True)
class TextRules:
    """The rules of one vocabulary. The fields are those of ``text`` in ``config.json``.

    ``tokenizer``: words, sklearn or whitespace; ``lowercase``: whether text is lower-cased; ``normalize``: whether it
    is composed to NFC, which sklearn never is, for its tokens are CountVectorizer's; ``max_n``: longest n-gram, in
    tokens. ``characters``: the tokens whose character n-grams are looked up, too: none, unknown (those whose unigram is
    not in the vocabulary) or all; these have ``characters_min`` to ``characters_max`` code points (1 to 16).
    ``deobfuscate``: whether disguises of words are undone first (FORMAT.md, "Disguised words"); needs ``normalize``.
    """

    tokenizer: str = "words"
    lowercase: bool = True
    normalize: bool = True
    max_n: int = 4
    characters: str = "none"
    characters_min: int = 3
    characters_max: int = 6
    deobfuscate: bool = False

    def __post_init__(self) -> None:
        if self.tokenizer == "sklearn":
            object.__setattr__(self, "normalize", False)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> TextRules:
        """The rules from what :meth:`config` gives, among other fields. Errors: KeyError for one that is missing."""
        away = (*_OF_CHARACTERS * ("characters" not in config), *("deobfuscate",) * ("deobfuscate" not in config))
        return cls(**{field.name: config[field.name] for field in dataclasses.fields(cls) if field.name not in away})

    def config(self) -> dict[str, Any]:
        """The rules as ``config.json`` has them: without those of what is off, so that it stays as it was."""
        away = (*_OF_CHARACTERS * (self.characters == "none"), *("deobfuscate",) * (not self.deobfuscate))
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in away}

    def of_tokens(self) -> dict[str, Any]:
        """Those that decide which tokens a text has, by the names that the core's functions give them."""
        return {name: value for name, value in self.config().items() if name not in ("max_n", *_OF_CHARACTERS)}
