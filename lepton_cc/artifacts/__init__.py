"""What a compilation leaves on the disk: library, header, listings, firmware image, manifest."""
