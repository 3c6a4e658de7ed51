"""The tensor engine's page of results: cycles, scratchpad, compile time, accuracy of the chip."""
