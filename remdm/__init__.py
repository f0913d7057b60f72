"""ReMDM planners in Craftax."""
