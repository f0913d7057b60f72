"""What the modes of the command do before and after their stage."""
