"""Names for packages and steps: from titles and from what a step does; never one that the notebook uses."""

from __future__ import annotations

import ast
import keyword
import re
import sys
import unicodedata
from collections.abc import Collection, Sequence

__all__ = ["free_name", "package_name", "slug", "step_name", "verb_of"]

_FILLER = frozenset(
    [
        "a",
        "an",
        "the",
        "our",
        "this",
        "that",
        "these",
        "those",
        "some",
        "of",
        "on",
        "in",
        "at",
        "to",
        "for",
        "with",
        "and",
        "or",
        "as",
        "by",
        "is",
        "are",
        "be",
        "we",
        "you",
        "let",
        "lets",
        "us",
        "now",
        "how",
        "what",
        "using",
        "use",
        "from",
        "into",
        "its",
        "it",
        "your",
        "my",
        "then",
        "next",
        "first",
        "finally",
        "here",
        "more",
        "simple",
        "basic",
        "part",
        "section",
        "chapter",
        "step",
        "exercise",
        "example",
    ]
)
_LEADING = re.compile(
    r"^\s*(?:(?:chapter|part|section|step|exercise|task|question|appendix|lesson|unit)\s+)?"
    r"(?:[0-9]+(?:[.):-][0-9a-z]*)*|[ivx]+[.)]|[a-z][.)])[\s.:)–—-]+",
    re.IGNORECASE,
)
_LONGEST = 32
_GENERIC = frozenset({"notebook", "untitled", "test", "tests", "src", "main", "package", "vendor", "steps", "run"})
# Calls that say all about a step that gives nothing.
_WHOLE = {"filter": "filter_warnings", "seed": "seed_random_numbers", "set": "set_options", "print": "print_values"}
_VERBS = {
    "filterwarnings": "filter", "simplefilter": "filter", "set_option": "set", "set_printoptions": "set",
    "manual_seed": "seed", "set_theme": "set", "set_style": "set", "basicConfig": "set",
    "fit": "fit", "fit_transform": "fit", "train": "train", "predict": "predict", "plot": "plot", "hist": "plot",
    "scatter": "plot", "imshow": "plot", "bar": "plot", "barh": "plot", "boxplot": "plot", "show": "plot",
    "read_csv": "read", "read_excel": "read", "read_json": "read", "read_parquet": "read", "load": "load",
    "to_csv": "write", "savefig": "save", "save": "save", "dump": "save", "print": "print", "groupby": "group",
    "merge": "merge", "join": "join", "concat": "join", "train_test_split": "split",
    "seed": "seed",
}  # fmt: skip


def slug(title: str, longest: int = _LONGEST) -> str:
    """A title as snake case: no numbering, no filler, cut at a word; "" where nothing is left (another script)."""
    text = _LEADING.sub("", title)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    letters = sum(char.isalpha() for char in title)
    if letters and sum(char.isalpha() for char in text) < letters / 2 and not _LEADING.match(title):
        return ""
    text = re.sub(r"'s?\b|’", "", text)
    words = [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]
    telling = [word for word in words if word not in _FILLER] or words
    while telling and telling[0].isdigit():
        telling = telling[1:]
    found = ""
    for word in telling:
        longer = f"{found}_{word}" if found else word
        if len(longer) > longest:
            break
        found = longer
    return found or (telling[0][:longest] if telling else "")


def package_name(wanted: str | None, stem: str, taken: Collection[str]) -> str:
    """The package's name: as wanted, else from the file's; never a standard module's, a keyword or one it imports."""
    text = wanted if wanted is not None else stem
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"_+", "_", re.sub(r"[^a-z0-9]+", "_", folded)).strip("_")[:50].strip("_")
    if name[:1].isdigit():
        name = f"nb_{name}"
    if not name:
        return "notebook_pipeline"
    if name in sys.stdlib_module_names or keyword.iskeyword(name) or name in taken or name in _GENERIC:
        name = f"{name}_pipeline"
    return name


def free_name(wanted: str, *taken: Collection[str], suffix: str = "step") -> str:
    """`wanted`, with `_suffix` (and then a number) where it is among the `taken` ones or cannot be a name."""
    if not any(wanted in names for names in taken) and not keyword.iskeyword(wanted) and wanted.isidentifier():
        return wanted
    name, count = f"{wanted}_{suffix}", 2
    while any(name in names for names in taken):
        name, count = f"{wanted}_{suffix}_{count}", count + 1
    return name


def verb_of(statements: Sequence[ast.stmt]) -> str:
    """What the last call among `statements` does, as a verb; "" where no known one is called."""
    for statement in reversed(statements):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in _VERBS:
                    return _VERBS[name]
    return ""


def step_name(
    title: str, outputs: Sequence[str], statements: Sequence[ast.stmt], *, plots: bool, used: Collection[str], cell: int
) -> str:
    """A name for a step that no other step has: from its heading, else from its first output and its last call."""
    base = slug(title)
    called = verb = verb_of(statements)
    if verb in _WHOLE:
        base = base or (_WHOLE[verb] if not outputs else "")
        verb = ""
    first = next((re.sub(r"_+", "_", name.lower()).strip("_") for name in outputs if name.strip("_").isascii()), "")
    if plots and not outputs:
        subject = _subject(statements)
        base = base if base.startswith("plot") else f"plot_{base or subject or 'figure'}"
        first = first or (subject if subject not in base else "")
    if not base:
        base = f"{verb or 'make'}_{first}" if first else f"{verb}_{_subject(statements)}".strip("_") or f"cell_{cell}"
        first = ""
    subject = _subject(statements)
    for name in (
        base,
        f"{base}_{first}" if first else base,
        f"{base}_{verb}" if verb else base,
        f"{called}_{subject}" if called and subject else base,
        f"{base}_{subject}" if subject else base,
    ):
        if name not in used and name.isidentifier():
            return name
    base = f"{base}_{first}" if first else base
    count = 2
    while f"{base}_{count}" in used:
        count += 1
    return f"{base}_{count}" if base.isidentifier() else f"cell_{cell}"


def _subject(statements: Sequence[ast.stmt]) -> str:
    """The first variable or column that is drawn or changed."""
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                for argument in node.args[:1]:
                    inner = argument
                    if isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Constant):
                        found = slug(str(inner.slice.value), 20)
                        if found:
                            return found
                    if isinstance(inner, ast.Name):
                        return re.sub(r"_+", "_", inner.id.lower()).strip("_")
    return ""
