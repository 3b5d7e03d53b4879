"""Tables on disk: finding the files, and one reader a family of formats."""
