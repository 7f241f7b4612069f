"""The wheel as a user gets it: installed in an environment and a folder of its own."""
