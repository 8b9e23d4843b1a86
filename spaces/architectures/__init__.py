"""What some kinds of layers need to be prunable: attention, recurrent layers, branches."""
