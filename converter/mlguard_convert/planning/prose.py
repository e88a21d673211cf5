"""Markdown as plain docstrings: what a heading and the text below it say, without marks."""

from __future__ import annotations

import ast
import re
import textwrap
import unicodedata

__all__ = ["comment_block", "docstring", "is_hidden", "plain_text", "printable", "sentence"]

_WIDTH = 108
_MOST_LINES = 12
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def docstring(title: str, prose: str, comment: str = "") -> str:
    """The docstring of a step: its title, the text of the notebook above it, and the comment that opens its cell."""
    text = "\n\n".join(part for part in (plain_text(prose), comment) if part)
    return f"{sentence(title)}\n\n{text}\n" if text else sentence(title)


def comment_block(source: str) -> tuple[str, str]:
    """The text of the comment that opens a cell, and the cell with empty lines in its place.

    A block has several lines, or an empty line below it: a single line belongs to the statement that it stands on.
    What is code commented out, or speaks to a tool (`#@title`, `# noqa`), is left alone: then the text is "".
    """
    lines = source.split("\n")
    first = next((at for at, line in enumerate(lines) if line.strip()), 0)
    end = next((at for at in range(first, len(lines)) if not lines[at].startswith("#")), len(lines))
    block = [line.lstrip("#") for line in lines[first:end]]
    is_block = len(block) > 1 or (block and end < len(lines) and not lines[end].strip())
    text = textwrap.dedent(printable("\n".join(block))).strip()
    if not is_block or not text or re.search(r"^\s*[@!%:|]|\bnoqa\b|\btype:|\bfmt:|-\*-", text, re.MULTILINE):
        return "", source
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        wrapped = [part for line in text.split("\n") for part in textwrap.wrap(line, _WIDTH) or [""]]
        return "\n".join(wrapped), "\n".join([*[""] * end, *lines[end:]])
    return "", source


def sentence(title: str) -> str:
    """A heading as one line that ends like a sentence."""
    line = " ".join(printable(title).split()).rstrip(":;,")
    if len(line) > _WIDTH - 4:
        line = textwrap.shorten(line, _WIDTH - 4, placeholder=" ...")
    return line if line.endswith((".", "!", "?")) else f"{line}."


def printable(text: str) -> str:
    """`text` without control characters, and without those that turn the reading direction of source code around."""
    return "".join(char for char in text if char in "\n\t" or not is_hidden(char))


def is_hidden(char: str) -> bool:
    """Whether a reader of the source would not see the character, or see others in another order because of it."""
    return unicodedata.category(char) in ("Cc", "Cs") or unicodedata.bidirectional(char) in _TURNING


def plain_text(markdown: str) -> str:
    """The first paragraphs, wrapped; pictures, tables, formulas, rules and code blocks are left out."""
    markdown = printable(markdown)
    text = re.sub(
        r"```.*?```|~~~.*?~~~|\$\$.*?\$\$|<!--.*?-->|\\begin\{.*?\\end\{\w+\*?\}", "", markdown, flags=re.DOTALL
    )
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"</?[A-Za-z][^>]*>", "", text)
    text = re.sub(r"(\*\*|__)(.+?)\1", r"\2", text)
    text = re.sub(r"(?<![\w*])\*(\S[^*\n]*?)\*(?![\w*])", r"\1", text)
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        rows = [
            row.strip() for row in block.strip().split("\n") if row.strip() and not re.fullmatch(r"[-=*_|\s:]+", row)
        ]
        if not rows or any(row.startswith("|") for row in rows):
            continue
        listed = re.match(r"(?:[-*+]|\d+[.)])\s", rows[0])
        parts: list[str] = []
        for row in rows:
            row = re.sub(r"^(?:#+|>+)\s*", "", row)
            if (listed and re.match(r"(?:[-*+]|\d+[.)])\s", row)) or not parts:
                parts.append(row)
            else:
                parts[-1] += f" {row}"
        wrapped = [line for part in parts for line in textwrap.wrap(part, _WIDTH, break_long_words=False)]
        if len(lines) + len(wrapped) > _MOST_LINES:
            break
        lines += ["", *wrapped] if lines else wrapped
    return "\n".join(lines)
