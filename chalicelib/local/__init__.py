"""The single-machine runtime: store, registry, fleet, gateway and command line of a box with a GPU."""
