"""The half of intents that touches the world: files, clocks, terminals, processes."""
