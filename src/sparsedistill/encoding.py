"""The encoding of a file that is not UTF-8."""

from __future__ import annotations


def encoding_of(head: bytes) -> str:
    """The encoding that a file's first bytes tell, as iconv calls it; "" for UTF-8, and where they tell none.

    UTF-16 without a mark is known by the zero bytes beside its spaces and line ends.
    """
    for mark, encoding in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32")):
        if head.startswith(mark):
            return encoding
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    units = head[: min(len(head), 4096) // 2 * 2]
    for at, encoding in ((1, "utf-16le"), (0, "utf-16be")):
        high, low = units[at::2], units[1 - at :: 2]
        zeros, spaces = high.count(0), [h for h, unit in zip(high, low, strict=True) if unit in b" \t\r\n"]
        if zeros > low.count(0) and (not any(spaces) if spaces else 2 * zeros >= len(high)):
            return encoding
    return ""
