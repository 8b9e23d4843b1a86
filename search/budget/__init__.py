"""Who gets how much time: the shares of a search, how long each candidate is trained, and the clock."""
