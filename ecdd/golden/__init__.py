"""The golden set: pictures with known nature, origin and licence, and how they are made."""
