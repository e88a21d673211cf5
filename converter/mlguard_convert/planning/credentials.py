"""Literals that look like credentials: by what they look like, or by the name of what they are given to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mlguard_convert.planning.draft import Draft

__all__ = ["check_secrets", "credentials_in", "is_secret_name"]

_SECRET_TEXT = re.compile(
    r"AKIA[0-9A-Z]{16}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bxox[abprs]-[\w-]{10,}"
    r"|AIza[\w-]{35}|\bhf_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s:@]{3,}@"
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|pwd|secret|token|api_?key|access_?key|auth_?key|credentials?)(?:$|_)", re.IGNORECASE
)
# What such a word belongs to: a place, a field, a size, or the tokens that a text is cut into.
_NO_SECRET_NAME = re.compile(
    r"_(?:file|path|dir|folder|url|uri|endpoint|name|env|var|variable|field|header|column|col|type|id|prefix|suffix)$"
    r"|(?:^|_)(?:pad|bos|eos|unk|sep|cls|mask|stop|start|end)_token$",
    re.IGNORECASE,
)
# Without one of these a cell holds no secret that could be told.
_TELLING = re.compile(
    r"AKIA|sk-|gh[pousr]_|github_pat_|xox|AIza|hf_|PRIVATE KEY|://|passw|pwd|secret|token|api_?key|access_?key|auth_?key|credential",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"your|xxx|\*\*\*|<|>|\.\.\.|change|example|dummy|none|test|todo|\s|^$", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret itself, not its file, its column or a token of a text."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)  # dbPassword
    return bool(_SECRET_NAME.search(words)) and not _NO_SECRET_NAME.search(words)


def credentials_in(tree: ast.AST) -> list[ast.Constant]:
    """The texts below `tree` that look like credentials."""
    found: dict[int, ast.Constant] = {}
    for node in ast.walk(tree):
        named = [value for name, value in _named(node) if is_secret_name(name)]
        for value in [node, *named]:
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                continue
            is_told = value is not node and len(value.value) >= 6 and not _PLACEHOLDER.search(value.value)
            if is_told or _SECRET_TEXT.search(value.value):
                found[id(value)] = value
    return list(found.values())


def check_secrets(draft: Draft) -> None:
    """Warn of literals that look like credentials; their values are never repeated, only remembered so that nobody
    does.
    """
    params = [unit.node for unit in draft.of_fate("param")]
    withheld = {id(node.value) for node in params if isinstance(node, (ast.Assign, ast.AnnAssign))}
    for cell in draft.cells:
        for value in credentials_in(cell.tree) if _TELLING.search(cell.source) else ():
            draft.secrets.add(str(value.value))
            what = "and it would be written into the package"
            how = "Read it from the environment: os.environ[...]."
            if id(value) in withheld:
                what, how = "which the package takes from the environment", "Take it out of the notebook, too."
            message = f"a literal looks like a secret, {what}"
            draft.findings.warning("secret", cell.number, message, how, line=value.lineno)


def _named(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What a variable, attribute, key, keyword argument or parameter of a name is given, where `node` gives it."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                yield str(target.slice.value), node.value
            else:
                yield getattr(target, "id", getattr(target, "attr", "")), node.value
    elif isinstance(node, ast.keyword):
        yield node.arg or "", node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield str(key.value) if isinstance(key, ast.Constant) else "", value
    elif isinstance(node, ast.arguments):
        plain = [*node.posonlyargs, *node.args]
        given = [*zip(reversed(plain), reversed(node.defaults), strict=False)]
        given += [(one, value) for one, value in zip(node.kwonlyargs, node.kw_defaults, strict=True) if value]
        yield from ((one.arg, value) for one, value in given)
