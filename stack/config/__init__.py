"""The configuration: stack.toml, environment and flags to a StackConfig with origins; stack.lock."""
