"""What a model knows of the columns of its table, and how it is found out."""
