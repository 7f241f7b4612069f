"""A model that is not ours, from its two files to the verdict on its release."""
