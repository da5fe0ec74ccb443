"""The stages, a module each: ``make(result, machine)`` does the work of one job and writes the result's files."""
