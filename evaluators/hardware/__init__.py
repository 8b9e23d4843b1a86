"""What a network costs on a device: devices, cost models, measuring and calibration."""
