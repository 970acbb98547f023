"""How it learns: objectives, offline training, metrics, checkpoints."""
