"""The release battery: score tables of labelled pictures, and what is read from them."""
