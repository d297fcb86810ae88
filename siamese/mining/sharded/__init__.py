"""Mining by many workers, of more questions than one machine holds."""
