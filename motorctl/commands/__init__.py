"""What motorctl is asked: one module a noun. Reads the arguments, awaits core, hands rows to output."""
