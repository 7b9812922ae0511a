"""Words, LFSR, initial contents and register classes. No tile kind is named here."""
