"""What each group saves and loses alone, how much of that recovers by training, and the nested path told from it."""
