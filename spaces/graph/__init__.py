"""What of a network belongs together: following labels through a forward pass, groups, and their verification."""
