"""Segmenters, which find the pixels of what is in a box, as pairs of graphs: an encoder and a decoder."""
