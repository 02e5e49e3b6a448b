"""Everything that talks or decides: intake, routing, pipeline, destinations, courier, CLI."""
