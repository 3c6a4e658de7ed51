"""The scanner under the IR parser: tokens on demand, and errors with line and column."""

import json
import re

from lepton_cc.ir.diagnostics import Code, Refused, refuse

_BLANK = re.compile(r"(?:\s+|//[^\n]*)*")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_.]+")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
# The bound keeps conversions of hostile digits linear.
_INTEGER = re.compile(r"-?[0-9]{1,40}(?![0-9])")
_NUMBER = re.compile(r"-?(?:inf|nan|[0-9]{1,400}(?:\.[0-9]{0,400})?(?:e[-+]?[0-9]{1,8})?)")
_DIGEST = re.compile(r"#([0-9a-f]{16})")


class Scanner:
    """A text and a position in it; every `expect_...` refuses when something else stands there."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self.position = 0

    def fail(self, message: str, at: int | None = None) -> Refused:
        """The refusal of what stands at `at` (or here), to be raised."""
        position = self.position if at is None else at
        line = self._text.count("\n", 0, position) + 1
        column = position - self._text.rfind("\n", 0, position)
        return refuse(
            Code.INVALID_IR_TEXT, f"{self._source}, line {line}, column {column}: {message}"
        )

    def skip_blank(self) -> None:
        """Goes on to the next token."""
        found = _BLANK.match(self._text, self.position)
        self.position = found.end() if found else self.position

    def here(self) -> int:
        """The position of the next token."""
        self.skip_blank()
        return self.position

    def at_end(self) -> bool:
        """True if nothing but blanks is left."""
        self.skip_blank()
        return self.position == len(self._text)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Takes the pattern if it stands here."""
        self.skip_blank()
        found = pattern.match(self._text, self.position)
        if found is not None:
            self.position = found.end()
        return found

    def expect(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        """Takes the pattern."""
        found = self.match(pattern)
        if found is None:
            raise self.unexpected(what)
        return found

    def unexpected(self, expected: str) -> Refused:
        """The refusal of what stands here, to be raised."""
        self.skip_blank()
        rest = self._text[self.position : self.position + 20].split("\n")[0]
        return self.fail(f"expected {expected}, found {rest!r}" if rest else f"expected {expected}")

    def take_symbol(self, symbol: str) -> bool:
        """Takes the symbol if it stands here."""
        self.skip_blank()
        if self._text.startswith(symbol, self.position):
            self.position += len(symbol)
            return True
        return False

    def expect_symbol(self, symbol: str) -> None:
        """Takes the symbol."""
        if not self.take_symbol(symbol):
            raise self.unexpected(f"'{symbol}'")

    def take_word(self, word: str) -> bool:
        """Takes the word if it stands here, whole."""
        before = self.position
        found = self.match(_WORD)
        if found is not None and found[0] == word:
            return True
        self.position = before
        return False

    def expect_keyword(self, word: str) -> None:
        """Takes the word."""
        if not self.take_word(word):
            raise self.unexpected(f"'{word}'")

    def word(self, what: str) -> str:
        """Takes a word: letters, digits, `_`."""
        return self.expect(_WORD, what)[0]

    def string(self, what: str = "a quoted text") -> str:
        """Takes a quoted text."""
        at = self.here()
        quoted = self.expect(_STRING, what)[0]
        try:
            return str(json.loads(quoted))
        except ValueError:
            raise self.fail("the quoted text has an escape that JSON does not know", at) from None

    def name(self, what: str) -> str:
        """Takes a name, plain or quoted."""
        found = self.match(_NAME)
        return found[0] if found is not None else self.string(what)

    def integer(self) -> int:
        """Takes an integer."""
        return int(self.expect(_INTEGER, "an integer")[0])

    def number(self) -> str:
        """Takes a number's text: `1`, `-2.5e-3`, `inf`, `nan`."""
        return self.expect(_NUMBER, "a number")[0]

    def digest(self) -> str | None:
        """Takes `#` and a digest if it stands here, and gives the digest."""
        found = self.match(_DIGEST)
        return None if found is None else found[1]
