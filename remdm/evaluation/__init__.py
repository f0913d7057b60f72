"""Play a policy and collect or record its episodes."""
