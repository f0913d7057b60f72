"""Play a policy, count its episodes, state what they show."""
