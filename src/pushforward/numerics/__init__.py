"""Mathematics without modules."""
