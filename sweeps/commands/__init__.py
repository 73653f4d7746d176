"""The commands, a file each: what a person types, up to the packages that do it. All end under one guard."""
