"""How text becomes tokens and n-grams: the rules of docs/FORMAT.md, "Text", which the core follows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TextRules:
    """The rules of one vocabulary. The fields are those of ``text`` in ``config.json``.

    ``tokenizer``: words, sklearn or whitespace; ``lowercase``: whether text is lower-cased; ``normalize``: whether it
    is composed to NFC, which sklearn never is, for its tokens are CountVectorizer's; ``max_n``: longest n-gram, in
    tokens.
    """

    tokenizer: str = "words"
    lowercase: bool = True
    normalize: bool = True
    max_n: int = 4

    def __post_init__(self) -> None:
        if self.tokenizer == "sklearn":
            object.__setattr__(self, "normalize", False)

    def config(self) -> dict[str, Any]:
        """The rules as ``config.json`` has them."""
        return dataclasses.asdict(self)

    def of_tokens(self) -> dict[str, Any]:
        """Those that decide which tokens a text has, by the names that the core's functions give them."""
        return {name: value for name, value in self.config().items() if name != "max_n"}
