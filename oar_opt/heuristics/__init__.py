"""Fixed rules that propose moves: one file each."""
