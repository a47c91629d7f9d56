"""Programs that run in other systems' environments: no module of ours is there, so none is imported."""
