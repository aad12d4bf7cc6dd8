"""A declaration's formula, plain text, as MathML.

    xhat = (x - mean) / sqrt(var + eps);  y = gamma * xhat + beta

What the text means is what a mathematician reads: juxtaposition multiplies, "a b / c" is one fraction, ' transposes (or marks
another symbol where an index follows), several letters that are no symbol are words.
"""

from __future__ import annotations

import re

from . import mathml as m

TOKEN = re.compile(
    r"(?P<word>[A-Za-z]+(?:-[A-Za-z]{2,})+|[A-Za-z]{2,}'s|[A-Za-z]+\d?)|(?P<number>\d+(?:\.\d+)?)|(?P<sign><-|->|\|\||[-+*/^=_'()\[\],;:|.])"
    r"|(?P<symbol>[^\x00-\x7f])|(?P<space>\s+)"
)
SIGNS = {"*": "\u22c5", "-": "\u2212", "->": "\u2192", "<-": "\u2190", "||": "\u2016", ".": "\u22c5", "|": "|"}
BRACKETS = {"(": ")", "[": "]", "|": "|", "||": "||"}
THIN = '<mspace width="0.17em"></mspace>'
PRIMED = {m.name(letter) for letter in "cijk"}                   # indices: c' is another one, not a transpose
ENDS = {"+", "-", "=", ",", ";", ":", "->", "<-"}                # what ends a product, and so a fraction's numerator


def lines(text: str) -> list[str]:
    """One MathML formula for each statement of a formula, "statement; statement"."""
    return [formula(part.strip(), block=True) for part in re.split(r";\s+(?![^\[]*\])", text)]


def formula(text: str, *, block: bool = False) -> str:
    return m.math(Reader(text).row(), text, block=block)


class Reader:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        matches = list(TOKEN.finditer(text))
        if "".join(t[0] for t in matches) != text:
            raise ValueError(f"{text!r} is no formula: it has signs that are not known")
        self.tokens = [(str(t.lastgroup), t[0]) for t in matches]
        self.at = 0
        self.closing = ""                           # of the innermost bracket that is open
        self.convolves = "F(" in text

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        here = self.at + ahead
        return self.tokens[here] if here < len(self.tokens) else ("end", "")

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def row(self, closing: str = "") -> str:
        """Up to the closing bracket, or to the end: products, with signs between them."""
        parts: list[str] = []
        while self.peek()[0] != "end" and self.peek()[1] != closing:
            kind, text = self.peek()
            if kind == "space":
                self.take()
            elif text in ENDS:
                parts.append(m.operator(SIGNS.get(self.take(), text)))
                if text in ",;" and self.peek()[0] == "space":
                    parts.append('<mspace width="0.6em"></mspace>')
            else:
                parts.append(self.product(closing))
        return "".join(parts)

    def product(self, closing: str) -> str:
        """Factors side by side; what stands before " / " is the numerator, one factor behind it the denominator."""
        parts: list[str] = []
        worded = lengthy = False                    # words keep their spaces, long names get some
        while True:
            spaced = self.skip()
            kind, text = self.peek()
            if kind == "end" or text == closing or text in ENDS:
                break
            if text == "/":
                self.take()
                above, kept = ("".join(parts) if len(parts) > 1 else parts[0], []) if spaced else (parts[-1], parts[:-1])
                parts = [*kept, m.fraction(above, self.denominator(closing))]
                continue
            if text == "*":
                self.take()
                parts.append(m.operator("\u2217" if self.convolves else SIGNS["*"]))
                continue
            is_word, is_long = self.is_words(), kind == "word" and len(text) > 1 and text not in m.GREEK and text not in m.HATS
            if parts and spaced and (is_word or worded):
                parts.append(m.words("\u00a0"))
            elif parts and (is_long or lengthy):
                parts.append(THIN)
            parts.append(self.factor())
            worded, lengthy = is_word, is_long
        return "".join(parts)

    def skip(self) -> bool:
        spaced = self.peek()[0] == "space"
        if spaced:
            self.take()
        return spaced

    def denominator(self, closing: str) -> str:
        """One factor; all that follows where it goes on in words, "max over f of |F(f)|_2"."""
        self.skip()
        following = self.peek(2) if self.peek()[0] == "word" and self.peek(1)[0] == "space" else ("", "")
        return self.product(closing) if following[0] == "word" and _prose(following[1]) else self.factor()

    def is_words(self) -> bool:
        """Is the next token prose: several letters that name nothing, or the article before them?"""
        kind, text = self.peek()
        if kind != "word":
            return False
        if text == "a":
            following = self.peek(2) if self.peek(1)[0] == "space" else ("", "")
            return following[0] == "word" and _prose(following[1])
        return _prose(text) and self.peek(1)[1] not in ("_", "^")

    def factor(self) -> str:
        """A symbol, number, bracket or function call, with what hangs on it."""
        kind, text = self.peek()
        if self.is_words():
            return m.words(self.take())
        if text in BRACKETS:
            return self.hanging(self.bracket())
        self.take()
        if text == "sqrt":
            self.take()
            inside = self.row(")")
            self.take()
            return m.root(inside)
        if kind == "number":
            return self.hanging(m.number(text))
        if kind == "word":
            base = self.hanging(m.operator("\u2211") if text == "sum" else m.name(text))
            if text == "tr" and self.peek()[0] == "space":
                self.take()
                return m.row(base, '<mspace width="0.15em"></mspace>', self.factor())
            if self.peek()[1] in BRACKETS and self.peek()[1] != self.closing:          # a function's argument, without a space
                return m.row(base, m.operator("\u2061"), self.hanging(self.bracket()))
            return base
        return self.hanging(m.operator(SIGNS.get(text, text)))

    def bracket(self) -> str:
        left, around = self.take(), self.closing
        self.closing = BRACKETS[left]
        inside = self.row(self.closing)
        right, self.closing = self.take(), around
        return m.fenced(inside, SIGNS.get(left, left), SIGNS.get(right, right))

    def hanging(self, base: str) -> str:
        """' ^ and _ behind a factor, and the argument of a function."""
        while (text := self.peek()[1]) in ("'", "^", "_"):
            self.take()
            if text == "'":
                primed = self.peek()[1] == "_" or base in PRIMED
                base = m.power(base, m.operator("\u2032" if primed else "\u22a4"))
            elif text == "^":
                base = m.power(base, self.exponent())
            else:
                base = m.index(base, self.subscript())
        return base

    def exponent(self) -> str:
        sign = m.operator(SIGNS["-"]) if self.peek()[1] == "-" and self.take() else ""
        if self.peek()[1] == "(":
            self.take()
            inside = self.row(")")
            self.take()
            return sign + inside
        kind, _ = self.peek()
        text = self.take()
        return sign + (m.number(text) if kind == "number" else m.name(text))

    def subscript(self) -> str:
        """Letters, each an index of its own, up to what is no index: "_oi", "_k,n", "_cc'", "_B"."""
        kind, _ = self.peek()
        letters = self.take()
        below = m.number(letters) if kind == "number" else "".join(f"<mi>{c}</mi>" for c in letters)
        if self.peek()[1] == "'":
            self.take()
            below = f"<msup>{m.row(below)}<mo>\u2032</mo></msup>" if len(letters) == 1 else below + m.operator("\u2032")
        if self.peek()[1] == "," and self.peek(1)[0] == "word" and len(self.peek(1)[1]) == 1:
            self.take()
            below += m.operator(",") + f"<mi>{self.take()}</mi>"
        return below


def _prose(text: str) -> bool:
    known = m.NAMES | set(m.GREEK) | set(m.HATS) | {"sqrt", "sum", "s2", "Gamma"}
    if len(text) == 2 and (text[1].isdigit() or text[0] == "d"):                # s2, dx
        return False
    if text[:1] == "d" and text[1:] in m.HATS:
        return False
    return len(text) > 1 and text not in known
