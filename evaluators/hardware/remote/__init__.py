"""Devices that Espalier does not run on: networks are packed as a kit, timed there by an agent, and read in again."""
