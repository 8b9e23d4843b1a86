"""What the user brings: a network with its data, loss and metric; how it is loaded, checked and measured."""
