"""Tensors as such: constants that no trace catches, and sizes that fit the memory."""
