"""How channels are ranked: criteria, the statistics that they look at, and rankings."""
