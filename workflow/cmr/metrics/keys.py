"""How a sort key of 64 bits is laid out: the score's bits, the place in the tie order, the gain."""

GAIN_BITS, PLACE_BITS, SCORE_BITS = 8, 24, 32
MAX_GAIN = 2**GAIN_BITS - 1
MAX_GALLERY = 2**PLACE_BITS
