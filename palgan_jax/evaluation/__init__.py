"""Measuring colorizers on protocols that others can repeat: any system's pictures, always beside a baseline."""
