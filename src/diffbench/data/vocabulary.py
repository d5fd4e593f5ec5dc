"""The words of prompts and their numbers."""

DIGITS = [str(digit) for digit in range(10)]
WEIGHTS = ["light", "regular", "bold"]
SLANTS = ["left-slanted", "upright", "right-slanted"]
VOCABULARY = [*DIGITS, *WEIGHTS, "any weight", *SLANTS, "any slant", "null"]
LENGTH = 3  # digit, weight, slant
FIRST_WEIGHT = VOCABULARY.index("light")
ANY_WEIGHT = VOCABULARY.index("any weight")
FIRST_SLANT = VOCABULARY.index("left-slanted")
ANY_SLANT = VOCABULARY.index("any slant")
NULL = VOCABULARY.index("null")
