"""The command line: `lepton-cc` compiles, `lepton` runs, inspects and checks."""
