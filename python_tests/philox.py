"""Philox4x32-10 (Salmon et al., 2011) and draws from it, in plain Python: the oracle of csrc/core/random.h."""

from __future__ import annotations

WORD = 2**32 - 1


def philox4x32(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Four words of 32 bits from a counter of four and a key of two."""
    c, k = list(counter), list(key)
    for _ in range(10):
        left, right = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(right >> 32) ^ c[1] ^ k[0], right & WORD, (left >> 32) ^ c[3] ^ k[1], left & WORD]
        k = [(k[0] + 0x9E3779B9) & WORD, (k[1] + 0xBB67AE85) & WORD]
    return tuple(c)


class Draws:
    """The numbers of one stream in turn."""

    def __init__(self, seed: int, stream: int, family: int = 0) -> None:
        self.key = (seed & WORD, seed >> 32 & WORD)
        self.rest = (family, stream & WORD, stream >> 32)
        self.block = 0
        self.words: list[int] = []

    def next(self) -> int:
        """32 even bits."""
        if not self.words:
            self.words = list(philox4x32((self.block, *self.rest), self.key))
            self.block += 1
        return self.words.pop(0)

    def below(self, end: int) -> int:
        """A whole number from 0 to end - 1."""
        if end <= WORD:
            while True:
                product = self.next() * end
                if product & WORD >= 2**32 % end:
                    return product >> 32
        mask = (1 << (end - 1).bit_length()) - 1
        while True:
            high = self.next()
            drawn = (high << 32 | self.next()) & mask
            if drawn < end:
                return drawn

    def uniform(self) -> float:
        """In [0, 1), of 24 bits."""
        return (self.next() >> 8) / 2**24
