"""Unit and property tests of the contract, its loader and the bundle."""
