"""SDRAM: chips and their timing, the controller's recurrence, and a model of the chip that checks every rule."""
