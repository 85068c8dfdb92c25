"""Fingerprints of what a unit's result depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from typing import Any

from .. import __version__

# Settings that change what a stage takes, not its result.
_KEYED_AWAY = ("threads", "device", "checkpoint_seconds", "memory", "resume", "tensorboard")


def keyed(settings: Any, *elsewhere: str) -> dict[str, Any]:
    """A stage's settings that its result depends on, less those that stand ``elsewhere`` among its inputs."""
    away = (*_KEYED_AWAY, *elsewhere)
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in away}


def digest(value: Any) -> str:
    """Fingerprint of a value that JSON can hold: 16 bytes of BLAKE2b, in hex."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def versions() -> dict[str, str]:
    """Of this package, Python, and the libraries that results depend on, as far as they are installed."""
    from importlib.metadata import PackageNotFoundError, version

    installed = {"sparsedistill": __version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "transformers", "pyarrow"):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed
