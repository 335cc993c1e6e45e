"""Training of the starter model, stage by stage."""
