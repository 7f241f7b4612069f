"""Making the golden pictures: recipes, drawings, renders; needs a checkout and the extra `train`."""
