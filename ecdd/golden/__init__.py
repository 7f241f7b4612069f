"""The golden set: pictures with known nature and origin, their frozen stages, and a bundle's outputs on them."""
