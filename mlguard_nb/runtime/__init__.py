"""What is done about it: the five decorators, what they stand on, and `guard`, which stacks them in the one order."""
