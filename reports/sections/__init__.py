"""What each section of the report says, as plain data: one module per question that the report answers."""
