"""Bytes as words that can be read out over a telephone (proquints: Wilkerson, arXiv:0901.4016)."""

CONSONANTS = "bdfghjklmnprstvz"
VOWELS = "aiou"


def spoken(data: bytes) -> str:
    """``data`` (an even number of bytes) as one five-letter word for every 16 bits."""
    if len(data) % 2:
        raise ValueError(f"spoken words hold 16 bits each; {len(data)} bytes are not a whole number of them")
    numbers = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    return " ".join(_word(number) for number in numbers)


def _word(number: int) -> str:
    return "".join(
        (
            CONSONANTS[number >> 12],
            VOWELS[number >> 10 & 3],
            CONSONANTS[number >> 6 & 15],
            VOWELS[number >> 4 & 3],
            CONSONANTS[number & 15],
        )
    )
