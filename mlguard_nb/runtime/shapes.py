"""The shape grammar: "batch 32", "*batch d", "... 3", "_ n+1", with dimensions bound across arguments.

The words are jaxtyping's. A number is fixed, a name is bound by the first array that has it and must agree from then
on, `_` and `_name` are anything, `...` any number of dimensions, `*name` any number of dimensions bound together, and
an expression such as `n+1` or `2*d` is computed from names bound before it.
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from mlguard_nb.errors import PolicyError

__all__ = ["Bindings", "Shape", "parse_shape"]

# What each name stands for so far: an int, or a tuple of ints for a starred name.
Bindings = dict[str, "int | tuple[int, ...]"]


class Shape(NamedTuple):
    """A parsed shape: the text as written and its words. `gap` is the place of `...` or `*name`, None without one."""

    text: str
    words: tuple[int | str | ast.expr | None, ...]  # None: `_`
    gap: int | None
    gap_name: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names this shape binds."""
        plain = tuple(word for word in self.words if isinstance(word, str))
        return plain if self.gap_name is None else (*plain, self.gap_name)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names its expressions need."""
        found = (node.id for word in self.words if isinstance(word, ast.expr) for node in ast.walk(word)
                 if isinstance(node, ast.Name))  # fmt: skip
        return tuple(dict.fromkeys(found))

    def mismatch(self, shape: tuple[int, ...], bound: Bindings) -> str | None:
        """Why `shape` does not fit, None where it does. Names it binds are added to `bound`."""
        least = len(self.words)
        if self.gap is None:
            if len(shape) != least:
                return f"{least} dimension{'s' if least != 1 else ''}, found {len(shape)}"
            return self._dimensions(shape, self.words, bound)
        if len(shape) < least:
            return f"at least {least} dimensions, found {len(shape)}"
        tail = len(shape) - (least - self.gap)
        middle = shape[self.gap : tail]
        if self.gap_name is not None:
            known = bound.setdefault(self.gap_name, middle)
            if known != middle:
                return f"*{self.gap_name} is {_shown(known)} here, found {_shown(middle)}"
        return self._dimensions(shape[: self.gap] + shape[tail:], self.words, bound)

    def _dimensions(
        self, shape: tuple[int, ...], words: tuple[int | str | ast.expr | None, ...], bound: Bindings
    ) -> str | None:
        for size, word in zip(shape, words, strict=True):
            if isinstance(word, int) and size != word:
                return f"a dimension of {word}, found {size}"
            if isinstance(word, str) and (known := bound.setdefault(word, size)) != size:
                return f"{word} is {_shown(known)} here, found {size}"
        for size, word in zip(shape, words, strict=True):
            if isinstance(word, ast.expr) and (wanted := _value(word, bound)) != size:
                return f"{ast.unparse(word)} is {wanted} here, found {size}"
        return None


def _shown(known: int | tuple[int, ...]) -> str:
    return str(known)


def parse_shape(text: str) -> Shape:
    """The shape that `text` describes; PolicyError naming the word that cannot be read."""
    words: list[int | str | ast.expr | None] = []
    gap, gap_name = None, None
    for word in text.split():
        if word == "..." or word.startswith("*"):
            if gap is not None:
                raise PolicyError(
                    f'Array("{text}"): only one "..." or "*name" can be told apart, {word!r} is the second'
                )
            gap, gap_name = len(words), (None if word == "..." else _name(word[1:], text))
        elif word.startswith("_") and (word == "_" or word.isidentifier()):
            words.append(None)
        elif word.isdigit():
            words.append(int(word))
        elif word.isidentifier():
            words.append(word)
        elif word.partition("=")[0].isidentifier() and word.partition("=")[2].isdigit():
            words.append(int(word.partition("=")[2]))
        else:
            words.append(_expression(word, text))
    return Shape(text, tuple(words), gap, gap_name)


def _name(word: str, text: str) -> str:
    if not word.isidentifier():
        raise PolicyError(f'Array("{text}"): {"*" + word!r} must be a star and a name')
    return word


_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv)


def _expression(word: str, text: str) -> ast.expr:
    try:
        tree = ast.parse(word, mode="eval").body
    except SyntaxError:
        tree = None
    if tree is None or not _is_arithmetic(tree):
        raise PolicyError(
            f'Array("{text}"): {word!r} is no dimension; write a number, a name, "_", "...", "*name" or a sum as n+1'
        )
    return tree


def _is_arithmetic(tree: ast.AST) -> bool:
    if isinstance(tree, ast.BinOp):
        return isinstance(tree.op, _OPERATORS) and _is_arithmetic(tree.left) and _is_arithmetic(tree.right)
    return isinstance(tree, ast.Name) or (isinstance(tree, ast.Constant) and type(tree.value) is int)


def _value(tree: ast.expr, bound: Bindings) -> int:
    if isinstance(tree, ast.BinOp):
        left, right = _value(tree.left, bound), _value(tree.right, bound)
        if isinstance(tree.op, ast.Add):
            return left + right
        if isinstance(tree.op, ast.Sub):
            return left - right
        if isinstance(tree.op, ast.Mult):
            return left * right
        return left // right if right else -1
    if isinstance(tree, ast.Name):
        size = bound.get(tree.id, -1)
        return size if isinstance(size, int) else -1
    assert isinstance(tree, ast.Constant)
    return int(tree.value)  # type: ignore[arg-type]
