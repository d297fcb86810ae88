"""Mine more questions than one machine holds, by many workers."""
