"""Readers of checkpoints that other projects wrote: their tensors in, an agent of this project out."""
