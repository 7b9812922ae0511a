"""The LIF core."""
