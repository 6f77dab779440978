"""Damage to text: separators, quotes, line ends of all kinds, words that mean something to YAML."""

from __future__ import annotations

from random import Random

from fuzz.mutations.octets import damage

_TOKENS = tuple(
    token.encode()
    for token in (
        '"', '""', "'", ",", ";", "\t", "\n", "\r", "\r\n", "\n\n", "\u2028", "\u0085", "\x0b",
        "\x0c", "\x1c", "\0", "\ufeff", " ", "\\", "{", "}", "[", "]", ":", "null", "nan", "inf",
        "-1", "0", "1e308", "1e400", "9" * 5000, "a" * 1000, "a" * 131_073, "../x", "/", "é",
        "&a ", "*a", "<<: *a", "!!python/object/apply:os.system ['true']", "!!binary x", "? ", "- ",
        "|", "---\n", "%YAML 9", "&a [*a]", "[" * 200, "{" * 5000, "x,x,x", ",,,,", '"a\nb"',
    )
)  # fmt: skip


def mutate_text(rng: Random, seed: bytes) -> bytes:
    """Damage a text in one to four places."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4))):
        chance = rng.random()
        if chance < 0.4:
            at = rng.randint(0, len(data))
            data[at : at + rng.choice((0, 0, 1, 3))] = rng.choice(_TOKENS)
        elif chance < 0.75:
            lines = bytes(data).split(b"\n")
            _damage_lines(rng, lines)
            data[:] = b"\n".join(lines)
        else:
            damage(rng, data)
    return bytes(data)


def _damage_lines(rng: Random, lines: list[bytes]) -> None:
    at, chance = rng.randrange(len(lines)), rng.random()
    if chance < 0.2:
        del lines[at]
    elif chance < 0.4:
        lines.insert(rng.randint(0, len(lines)), lines[at])
    elif chance < 0.5:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        mark = b"," if b"," in lines[at] else b"\t"
        cells = lines[at].split(mark)
        cell = rng.randrange(len(cells))
        if chance < 0.7:
            cells[cell] = rng.choice(_TOKENS)
        elif chance < 0.85:
            cells.insert(cell, rng.choice(cells))
        else:
            del cells[cell]
        lines[at] = mark.join(cells)
